entrypoints "web" {
  address = "0.0.0.0:8080"
}

services "backend" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8001" }]
}

routers "api" {
  rule    = "PathPrefix(`/api`)"
  service = "backend"
}
