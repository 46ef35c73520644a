entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "PathPrefix(`/`)"
  service = "whoami@internal"
}

access_log {
  format = "combined"
  fields = ["timestamp"]
}
