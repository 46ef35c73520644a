# DNS, and logs by syslog, on UDP: see docs/udp.md.

entrypoints "dns" {
  address                  = "127.0.0.1:5353"
  protocol                 = "udp"
  udp_session_timeout_secs = 5
  udp_max_sessions         = 20000
  allowed_ips              = ["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"]
}

entrypoints "syslog" {
  address  = "127.0.0.1:5514"
  protocol = "udp"
}

routers "names" {
  rule        = "HostSNI(`*`)"
  entrypoints = ["dns"]
  service     = "resolvers"
}

# Those of one network have a resolver of their own.
routers "names-of-the-lab" {
  rule        = "ClientIP(`10.7.0.0/16`)"
  entrypoints = ["dns"]
  service     = "lab-resolver"
  priority    = 10
}

routers "logs" {
  rule        = "HostSNI(`*`)"
  entrypoints = ["syslog"]
  service     = "log-collectors"
}

services "resolvers" {
  load_balancer {
    servers = [
      { url = "udp://127.0.0.1:5301" },
      { url = "udp://127.0.0.1:5302" },
    ]

    # UDP itself cannot be probed, but the resolvers have a page about their health.
    health_check {
      port = 8181
      path = "/health"
    }
  }
}

services "lab-resolver" {
  load_balancer {
    servers = [{ url = "127.0.0.1:5303" }]
  }
}

services "log-collectors" {
  load_balancer {
    strategy = "least-connections"
    servers  = [{ url = "udp://127.0.0.1:5601" }, { url = "udp://127.0.0.1:5602" }]
  }
}
