entrypoints "db" {
  address  = "0.0.0.0:5432"
  protocol = "tcp"
}

routers "db" {
  rule        = "Host(`db.example.com`)"
  service     = "db"
  entrypoints = ["db"]
}

services "db" {
  load_balancer {
    servers = [{ url = "tcp://127.0.0.1:5433" }]
  }
}
