entrypoints "web" {
  address = "0.0.0.0:8443"

  tls {
    cert_file = "no-such-folder/cert.pem"
    key_file  = "no-such-folder/key.pem"
  }
}

routers "api" {
  rule    = "PathPrefix(`/`)"
  service = "whoami@internal"
}
