entrypoints "web" {
  address = "0.0.0.0:8443"

  tls {
    min_version = "1.1"
  }
}

routers "api" {
  rule    = "PathPrefix(`/`)"
  service = "whoami@internal"
}

entrypoints "half" {
  address = "0.0.0.0:8444"

  tls {
    cert_file = "cert.pem"
  }
}

entrypoints "none" {
  address = "0.0.0.0:8445"

  tls {
  }
}

entrypoints "acme" {
  address = "0.0.0.0:8446"

  tls {
    acme = true
  }
}
