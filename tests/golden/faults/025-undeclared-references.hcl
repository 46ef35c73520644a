entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule        = "PathPrefix(`/api`)"
  service     = "bakend"
  entrypoints = ["web", "websecure"]
  middlewares = ["auth", "rate-limt"]
}

services "backend" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8001" }]
  }
}

middlewares "rate-limit" {
  type = "rate-limit"
  rate = 10
}
