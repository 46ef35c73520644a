entrypoints "web" {
  address         = 8080
  protocol        = true
  max_connections = "100"
  trusted_proxies = "10.0.0.0/8"
  tls             = true
}

routers "api" {
  rule    = "PathPrefix(`/`)"
  service = "whoami@internal"
}
