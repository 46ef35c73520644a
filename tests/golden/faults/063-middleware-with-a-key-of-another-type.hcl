entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule        = "PathPrefix(`/api`)"
  service     = "whoami@internal"
  middlewares = ["m"]
}

middlewares "m" {
  type     = "rate-limit"
  rate     = 10
  redis_url = "redis://127.0.0.1:6379"
  max_body_bytes = "1MB"
}
