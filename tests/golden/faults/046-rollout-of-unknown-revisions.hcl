entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "PathPrefix(`/api`)"
  service = "backend"
}

services "backend" {
  revisions = [
    { name = "v1", traffic_percent = 90, servers = [{ url = "http://127.0.0.1:8001" }] },
    { name = "v2", traffic_percent = 10, servers = [{ url = "http://127.0.0.1:8002" }] },
  ]

  rollout {
    from = "v1"
    to   = "v3"
  }
}

services "still" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8003" }]
  }

  rollout {
    from = "v1"
    to   = "v2"
  }
}
