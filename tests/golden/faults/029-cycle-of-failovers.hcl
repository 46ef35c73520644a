entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "PathPrefix(`/api`)"
  service = "a"
}

services "a" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8000" }]
  }

  failover {
    service = "b"
  }
}

services "b" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8001" }]
  }

  mirror {
    service = "c"
  }
}

services "c" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8002" }]
  }

  failover {
    service = "a"
  }
}

services "d" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8003" }]
  }

  failover {
    service = "d"
  }
}
