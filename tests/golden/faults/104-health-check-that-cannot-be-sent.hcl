entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "PathPrefix(`/api`)"
  service = "backend"
}

services "backend" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8001" }]

    health_check {
      path    = "/all well"
      host    = "a b"
      headers = { Host = "b" }
    }
  }
}

services "other" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8001" }]

    health_check {
      path    = "health"
      headers = { X-Place = "Kraków" }
    }
  }
}

services "without-connections" {
  load_balancer {
    servers = [{ url = "udp://127.0.0.1:53" }]

    health_check {
      interval = "1s"
    }
  }
}
