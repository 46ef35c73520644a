entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "Host(`a.example.com`) && ${BROKEN_RULE}"
  service = "whoami@internal"
}
