entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "HostRegexp(`^api\.example\.com$`)"
  service = "whoami@internal"
}
