routers "api" {
  rule    = "PathPrefix(`/v2`)"
  service = "backend"
}

services "backend" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8001" }]
  }
}
