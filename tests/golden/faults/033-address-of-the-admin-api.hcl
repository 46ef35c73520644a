entrypoints "web" {
  address = ":9900"
}

routers "all" {
  rule    = "PathPrefix(`/`)"
  service = "whoami@internal"
}
