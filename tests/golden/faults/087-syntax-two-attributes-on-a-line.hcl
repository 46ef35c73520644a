entrypoints "web" { address = "0.0.0.0:8080" protocol = "http" }

routers "api" {
  rule    = "PathPrefix(`/`)"
  service = "whoami@internal"
}
