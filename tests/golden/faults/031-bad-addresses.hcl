entrypoints "no-port" {
  address = "0.0.0.0"
}

entrypoints "big-port" {
  address = "0.0.0.0:70000"
}

entrypoints "no-number" {
  address = "0.0.0.0:http"
}

entrypoints "bad-ip" {
  address = "10.0.0.256:80"
}

entrypoints "url" {
  address = "http://0.0.0.0:80"
}

entrypoints "ipv6" {
  address = "::1:80"
}

entrypoints "no-path" {
  address = "unix:"
}

entrypoints "empty" {
  address = ""
}

