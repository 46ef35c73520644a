entrypoints "web" {
  address = "0.0.0.0:8080"
}

entrypoints "second" {
  address = ":8080"
}

entrypoints "other-port" {
  address = "0.0.0.0:8081"
}

entrypoints "datagrams" {
  address  = "0.0.0.0:8080"
  protocol = "udp"
}

routers "all" {
  rule    = "PathPrefix(`/`)"
  service = "whoami@internal"
}

routers "udp" {
  rule        = "HostSNI(`*`)"
  service     = "udp"
  entrypoints = ["datagrams"]
}

services "udp" {
  load_balancer {
    servers = [{ url = "127.0.0.1:9000" }]
  }
}
