entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule {
    path = "/api"
  }
  service = "backend"
}

services "backend" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8001" }]
  }
}
