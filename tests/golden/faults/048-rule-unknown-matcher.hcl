entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "Host(`api.example.com`) && PathPrefx(`/v1`)"
  service = "whoami@internal"
}
