entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = env()
  service = environ("SERVICE")
}

middlewares "m" {
  type  = "jwt"
  value = file("no-such-secret.txt")
}
