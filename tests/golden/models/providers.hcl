entrypoints "web" {
  address = ":8080"
}

providers {
  discovery {
    poll_interval_secs = 30
    seeds = [
      { url = "http://10.0.0.5:8080" },
      { url = "http://10.0.0.6:8080" }
    ]
  }

  dns {
    nameservers = ["10.0.0.2"]
  }

  docker {
    label_prefix = "gw"
  }

  kubernetes {
    namespace         = "default"
    ingress_route_crd = true
  }
}
