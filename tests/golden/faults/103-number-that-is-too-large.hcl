entrypoints "web" {
  address = "0.0.0.0:8080"
}

shutdown_timeout_secs = 99999999999999999999

routers "api" {
  rule    = "PathPrefix(`/api`)"
  service = "backend"
}

services "backend" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8001" }]
  }
}
