entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "PathPrefix(`/api`)"
  service = "backend"
}

services "backend" {
  load_balancer {
    servers = [{ url = "https://127.0.0.1:8001" }]

    tls {
      ca_file              = "no-such-ca.pem"
      insecure_skip_verify = true
    }
  }
}

services "half" {
  load_balancer {
    servers = [{ url = "https://127.0.0.1:8002" }]

    tls {
      cert_file = "client.pem"
    }
  }
}
