entrypoints "web" {
  address = "0.0.0.0:8080"
}

entrypoints "db" {
  address  = "0.0.0.0:5432"
  protocol = "tcp"
}

routers "both" {
  rule        = "HostSNI(`*`)"
  service     = "db"
  entrypoints = ["web", "db"]
}

services "db" {
  load_balancer {
    servers = [{ url = "tcp://127.0.0.1:5433" }]
  }
}
