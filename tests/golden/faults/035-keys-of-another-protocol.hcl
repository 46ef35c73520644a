entrypoints "web" {
  address                  = "0.0.0.0:8080"
  tcp_allowed_ips          = ["10.0.0.0/8"]
  udp_session_timeout_secs = 60
}

routers "api" {
  rule    = "PathPrefix(`/`)"
  service = "whoami@internal"
}

entrypoints "dns" {
  address         = "0.0.0.0:53"
  protocol        = "udp"
  max_connections = 100

  limits {
    max_head_bytes = "64KiB"
  }
}
