entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule        = "PathPrefix(`/api`)"
  service     = "whoami@internal"
  middlewares = ["a", "b", "c", "d", "e", "f"]
}

middlewares "a" {
  type = "jwt"
}

middlewares "b" {
  type     = "basic-auth"
  username = "a:b"
  password = "x"
}

middlewares "c" {
  type        = "ip-allow"
  allowed_ips = []
}

middlewares "d" {
  type = "api-key"
}

middlewares "e" {
  type = "forward-auth"
}

middlewares "f" {
  type = "strip-prefix"
}
