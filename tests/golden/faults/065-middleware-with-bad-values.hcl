entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule        = "PathPrefix(`/api`)"
  service     = "whoami@internal"
  middlewares = ["cors", "headers", "more", "limit", "strip", "retry", "forward", "breaker"]
}

middlewares "cors" {
  type            = "cors"
  allowed_origins = ["https://app.example.com/", "app.example.com"]
  allowed_methods = ["GET", "P OST"]
}

middlewares "headers" {
  type             = "headers"
  request_headers  = { "Content-Length" = "0" }
  response_headers = { X-Fine = "1" }
}

middlewares "more" {
  type             = "headers"
  response_headers = { X-Broken = "a\nb" }
}

middlewares "limit" {
  type  = "rate-limit"
  rate  = 0
  burst = "many"
}

middlewares "strip" {
  type     = "strip-prefix"
  prefixes = ["api"]
}

middlewares "retry" {
  type              = "retry"
  max_retries       = 0
  retry_interval_ms = "fast"
}

middlewares "forward" {
  type             = "forward-auth"
  forward_auth_url = "127.0.0.1:9000"
}

middlewares "breaker" {
  type          = "circuit-breaker"
  cooldown_secs = 0
}
