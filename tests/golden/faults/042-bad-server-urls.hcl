entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "PathPrefix(`/api`)"
  service = "backend"
}

services "backend" {
  load_balancer {
    servers = [
      { url = "ftp://127.0.0.1:21" },
      { url = "127.0.0.1:8001/base" },
      { url = "http://" },
      { url = "http://host:99999" },
      { url = "http://user:hunter2@127.0.0.1:8001" },
      { url = "http://127.0.0.1:8001/?debug=1" },
      { url = "tcp://127.0.0.1" },
      { url = "http://under score:80" },
    ]
  }
}
