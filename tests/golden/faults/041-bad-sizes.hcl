entrypoints "web" {
  address = "0.0.0.0:8080"

  limits {
    max_head_bytes    = "32 kilobytes"
    max_target_bytes  = 10
    max_trailer_bytes = -1
  }
}

routers "api" {
  rule    = "PathPrefix(`/`)"
  service = "whoami@internal"
}

routers "m" {
  rule        = "Path(`/m`)"
  service     = "whoami@internal"
  middlewares = ["small"]
}

middlewares "small" {
  type           = "body-limit"
  max_body_bytes = 0
}
