entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "(Host(`a.example.com`) || Host(`b.example.com`)"
  service = "whoami@internal"
}
