# One middleware of each type for HTTP. A router names those it wants, in the order of its list.

entrypoints "web" {
  address = ":8080"
}

routers "site" {
  rule        = "PathPrefix(`/`)"
  service     = "whoami@internal"
  middlewares = ["no-www", "secure-headers", "small-bodies", "compressed"]
}

routers "former" {
  rule        = "PathPrefix(`/v1`)"
  service     = "whoami@internal"
  middlewares = ["no-version", "below-api"]
}

routers "office" {
  rule        = "PathPrefix(`/office`)"
  service     = "whoami@internal"
  middlewares = ["office-only", "password", "without-office"]
}

routers "partners" {
  rule        = "PathPrefix(`/partners`)"
  service     = "whoami@internal"
  middlewares = ["cross-origin", "partner-key", "ten-per-second", "shared-limit", "try-again"]
}

routers "accounts" {
  rule        = "PathPrefix(`/accounts`)"
  service     = "whoami@internal"
  middlewares = ["token", "login", "breaker"]
}

middlewares "partner-key" {
  type   = "api-key"
  header = "X-API-Key"
  keys   = [env("PARTNER_KEY", "only-for-this-example")]
}

middlewares "password" {
  type     = "basic-auth"
  username = "admin"
  password = env("ADMIN_PASSWORD", "only-for-this-example")
}

middlewares "token" {
  type  = "jwt"
  value = env("JWT_SECRET", "only-for-this-example-and-not-a-secret-at-all")
}

middlewares "login" {
  type                          = "forward-auth"
  forward_auth_url              = "http://127.0.0.1:9000/verify"
  forward_auth_response_headers = ["X-Auth-User"]
}

middlewares "ten-per-second" {
  type  = "rate-limit"
  rate  = 10
  burst = 20
}

middlewares "shared-limit" {
  type      = "rate-limit-redis"
  redis_url = env("REDIS_URL", "redis://127.0.0.1:6379/0")
  rate      = 100
}

middlewares "cross-origin" {
  type            = "cors"
  allowed_origins = ["https://app.example.com"]
  allowed_methods = ["GET", "POST"]
  allowed_headers = ["Content-Type", "Authorization"]
  max_age         = "1h"
}

middlewares "secure-headers" {
  type = "headers"

  request_headers = { X-Gateway = "a3s" }

  response_headers {
    X-Content-Type-Options = "nosniff"
    X-Frame-Options        = "DENY"
  }
}

middlewares "without-office" {
  type     = "strip-prefix"
  prefixes = ["/office"]
}

middlewares "no-version" {
  type        = "replace-path"
  regex       = "^/v1/(.*)$"
  replacement = "/$1"
}

middlewares "below-api" {
  type   = "add-prefix"
  prefix = "/api"
}

middlewares "no-www" {
  type        = "redirect"
  regex       = "^https?://www\\.(.*)"
  replacement = "https://$1"
}

middlewares "small-bodies" {
  type           = "body-limit"
  max_body_bytes = "1MiB"
}

middlewares "try-again" {
  type              = "retry"
  max_retries       = 2
  retry_interval_ms = 100
}

middlewares "breaker" {
  type              = "circuit-breaker"
  failure_threshold = 5
  cooldown_secs     = 30
  success_threshold = 1
}

middlewares "office-only" {
  type        = "ip-allow"
  allowed_ips = ["192.168.0.0/16", "127.0.0.1"]
}

middlewares "compressed" {
  type = "compress"
}
