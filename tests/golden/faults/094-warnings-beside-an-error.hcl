entrypoints "web" {
  address = "0.0.0.0:8080"
}

entrypoints "unused" {
  address = "0.0.0.0:8081"
}

routers "api" {
  rule        = "PathPrefix(`/`)"
  service     = "backend"
  entrypoints = ["web"]
  middlewares = ["auth"]
}

routers "same" {
  rule        = "PathPrefix(`/`)"
  service     = "backend"
  entrypoints = ["web"]
}

routers "tcp" {
  rule    = "HostSNI(`*`)"
  service = "nobody"
}

services "backend" {
  load_balancer {
    servers = [{ url = "https://127.0.0.1:8001" }]

    tls {
      insecure_skip_verify = true
    }
  }
}

middlewares "auth" {
  type  = "jwt"
  value = "too-short"
}

providers {
  file {
    directory = "no-such-folder"
  }
}
