// Every way of writing a block and a list; keys may be quoted, and end in ":".
entrypoints web {
  address = ":8080"
  limits = { max_header_lines : 64, "max_target_bytes" = 4096 }
}
entrypoints = { "internal" = { address = "localhost:8081" } }

routers {
  one { # a bare label
    rule = <<-EOT
      Host(`one.example.com`)
        || Host(`uno.example.com`)
    EOT
    service = "a"
    entrypoints = ["web",]
  }
  two = { rule = "Host(\"two.example.com\")", service = "b" }
}

services "a" {
  load_balancer {
    servers {
      url = "http://127.0.0.1:8001"
    }
  }
}
services "b" {
  load_balancer = {
    servers = [
      { url = "http://127.0.0.1:8002" } /* the first */
      ,
      {
        url    = "http://127.0.0.1:8003"
        weight = 2.0
      },
    ]
    sticky = null
  }
  revisions {
    name            = "v1"
    traffic_percent = 25
    servers { url = "http://127.0.0.1:8004" }
    servers { url = "http://127.0.0.1:8005" }
  }
  revisions {
    name            = "v2"
    traffic_percent = 75
    servers = { url = "http://127.0.0.1:8006" }
  }
}
