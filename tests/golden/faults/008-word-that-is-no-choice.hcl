entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "PathPrefix(`/api`)"
  service = "backend"
}

services "backend" {
  load_balancer {
    strategy = "round_robin"
    servers  = [{ url = "http://127.0.0.1:8001" }]
  }

  scaling {
    executor = "docker"
  }
}
