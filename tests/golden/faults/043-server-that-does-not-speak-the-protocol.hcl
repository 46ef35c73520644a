entrypoints "db" {
  address  = "0.0.0.0:5432"
  protocol = "tcp"
}

entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "db" {
  rule        = "HostSNI(`*`)"
  service     = "backend"
  entrypoints = ["db"]
}

routers "api" {
  rule        = "PathPrefix(`/api`)"
  service     = "postgres"
  entrypoints = ["web"]
}

services "backend" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8001" }]
  }
}

services "postgres" {
  load_balancer {
    servers = [{ url = "127.0.0.1:5433" }]
  }
}
