entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule        = "PathPrefix(`/api`)"
  service     = "whoami@internal"
  middlewares = ["m"]
}

middlewares "m" {
  rate = 10
}
