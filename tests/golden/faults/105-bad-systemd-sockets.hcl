entrypoints "no-name" {
  address = "systemd:"
}

entrypoints "two-names" {
  address = "systemd:web:api"
}

entrypoints "web" {
  address = "systemd:web"
}

entrypoints "web-again" {
  address = "systemd:web"
}

entrypoints "datagrams" {
  address  = "systemd:dns"
  protocol = "udp"
}
