entrypoints "web" {
  address = "0.0.0.0:8080"
}

entrypoints "db" {
  address  = "0.0.0.0:5432"
  protocol = "tcp"
}

routers "api" {
  rule        = "PathPrefix(`/api`)"
  service     = "whoami@internal"
  entrypoints = ["web"]
  middlewares = ["few"]
}

routers "db" {
  rule        = "HostSNI(`*`)"
  service     = "db"
  entrypoints = ["db"]
  middlewares = ["limit"]
}

services "db" {
  load_balancer {
    servers = [{ url = "tcp://127.0.0.1:5433" }]
  }
}

middlewares "few" {
  type            = "tcp-filter"
  max_connections = 10
}

middlewares "limit" {
  type = "rate-limit"
  rate = 10
}
