entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "db" {
  rule        = "HostSNI(`db.example.com`)"
  service     = "backend"
  entrypoints = ["web"]
}

services "backend" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8001" }]
  }
}
