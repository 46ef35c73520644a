entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "PathPrefix(`/`)"
  service = "whoami@internal"
}

access_log {
  format = "xml"
  fields = ["timestamp", "durations_ms"]
  sample = 2
}

tracing {
  endpoint     = "127.0.0.1:4318"
  sample_ratio = "half"
}
