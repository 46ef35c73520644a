entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "PathPrefix(`/api`)"
  service = "backend"
}

services "backend" {
  load_balancer {
    servers         = [{ url = "http://127.0.0.1:8001" }]
    connect_timeout = "5 parsecs"
    request_timeout = "-1s"
    stream_idle_timeout = 0

    health_check {
      path     = "health"
      interval = "1h30"
      timeout  = ""
    }
  }
}

shutdown_timeout_secs = "soon"
