entrypoints "web" {
  address         = "0.0.0.0:8080"
  trusted_proxies = ["10.0.0.0/8", "10.0.0.0/33", "proxy.local", "10.0.0"]
}

routers "api" {
  rule    = "PathPrefix(`/`)"
  service = "whoami@internal"
}
