entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "a" {
  rule    = "Path(`/a`)"
  service = "no-balancer"
}

routers "b" {
  rule    = "Path(`/b`)"
  service = "no-servers"
}

routers "c" {
  rule    = "Path(`/c`)"
  service = "no-weight"
}

services "no-balancer" {
}

services "no-servers" {
  load_balancer {
    strategy = "random"
  }
}

services "no-weight" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8001", weight = 0 }]
  }
}
