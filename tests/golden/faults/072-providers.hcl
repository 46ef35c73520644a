entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "PathPrefix(`/`)"
  service = "whoami@internal"
}

providers {
  file {
    watch     = "yes"
    directory = 7
  }

  discovery {
    poll_interval_secs = "100ms"
  }

  consul {
    address = "127.0.0.1:8500"
  }

  docker {
    host = ""
  }
}
