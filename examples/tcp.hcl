# Databases and mail behind the gateway, and one port for HTTPS and TCP. See docs/tcp.md.

entrypoints "postgres" {
  address         = "127.0.0.1:15432"
  protocol        = "tcp"
  max_connections = 500
  tcp_allowed_ips = ["127.0.0.0/8", "10.0.0.0/8"]
}

entrypoints "by-name" {
  address  = "127.0.0.1:18443"
  protocol = "tcp"
}

# Whoever comes goes to the database; the server may speak first.
routers "postgres" {
  rule        = "HostSNI(`*`)"
  entrypoints = ["postgres"]
  service     = "postgres"
  middlewares = ["few"]
}

# TLS is looked at and not touched: the certificates are the servers' own.
routers "git" {
  rule        = "HostSNI(`git.example.com`)"
  entrypoints = ["by-name"]
  service     = "git"
}

routers "mail" {
  rule        = "HostSNIRegexp(`^(imap|smtp)\\.example\\.com$`)"
  entrypoints = ["by-name"]
  service     = "mail"
}

middlewares "few" {
  type            = "tcp-filter"
  max_connections = 100
}

services "postgres" {
  load_balancer {
    strategy            = "least-connections"
    servers             = [{ url = "tcp://127.0.0.1:5432" }, { url = "127.0.0.1:5433" }]
    connect_timeout     = "2s"
    stream_idle_timeout = "1h"
    health_check {}
  }
}

services "git" {
  load_balancer {
    servers = [{ url = "tcp://127.0.0.1:2443" }]
  }
}

services "mail" {
  load_balancer {
    servers        = [{ url = "tcp://127.0.0.1:2993" }]
    proxy_protocol = 2
  }
}
