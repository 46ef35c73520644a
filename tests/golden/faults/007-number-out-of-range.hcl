entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "PathPrefix(`/api`)"
  service = "backend"
}

services "backend" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8001", weight = -1 }]
  }

  mirror {
    service    = "shadow"
    percentage = 250
  }

  scaling {
    min_replicas       = 20
    max_replicas       = 10.5
    target_utilization = 1.5
  }
}

services "shadow" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8009" }]
  }
}
