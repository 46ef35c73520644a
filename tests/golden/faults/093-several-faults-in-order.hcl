entrypoints "web" {
  address  = "0.0.0.0:99999"
  protocol = "htp"
}

routers "api" {
  rule        = "Host(`api.example.com`) && PathPrefx(`/v1`)"
  service     = "bckend"
  entrypoints = ["wbe"]
  middlewares = ["auth", "rate-limt"]
}

services "backend" {
  load_balancer {
    strategy = "fastest"
    servers  = [{ url = "http://127.0.0.1:8001" }]

    health_check {
      path     = "/health"
      interval = "often"
    }
  }
}

middlewares "auth" {
  type  = "jwt"
  value = "${JWT_SECRT}"
}

middlewares "rate-limit" {
  type = "rate-limit"
  rat  = 100
}
