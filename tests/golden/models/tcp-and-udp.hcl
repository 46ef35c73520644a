entrypoints "db" {
  address         = "0.0.0.0:5432"
  protocol        = "tcp"
  max_connections = 100
  tcp_allowed_ips = ["10.0.0.0/8"]
}

entrypoints "dns" {
  address                  = "0.0.0.0:5432"
  protocol                 = "udp"
  udp_session_timeout_secs = 5
}

routers "db" {
  rule        = "HostSNI(`db.example.com`) || HostSNI(`*`)"
  service     = "db"
  middlewares = ["few"]
}

routers "dns" {
  rule        = "HostSNI(`*`)"
  service     = "dns"
  entrypoints = ["dns"]
}

services "db" {
  load_balancer {
    servers = [{ url = "127.0.0.1:5433" }, { url = "tcp://db.internal:5432" }]
  }
}

services "dns" {
  load_balancer {
    servers = [{ url = "udp://127.0.0.1:53" }, { url = "127.0.0.1:5353" }]
  }
}

middlewares "few" {
  type        = "tcp-filter"
  allowed_ips = ["127.0.0.1"]
}
