entrypoints "dns" {
  address     = ":53"
  protocol    = "udp"
  allowed_ips = ["10.0.0.0/33"]
}

entrypoints "web" {
  address     = ":80"
  allowed_ips = ["10.0.0.0/8"]
}

routers "names" {
  rule        = "ClientIP(`10.0.0.0/8`) && !HostSNI(`*`, `a.test`)"
  service     = "dns"
  entrypoints = ["dns"]
}

routers "more" {
  rule        = "HostSNI(`*`) || ALPN(`h2`)"
  service     = "dns"
  entrypoints = ["dns"]
}

services "dns" {
  load_balancer {
    servers = [{ url = "udp://127.0.0.1:53" }]
  }
}
