entrypoints "a" {
  address = "[::1]:0"

  limits {
    max_head_bytes      = "64KiB"
    max_target_bytes    = "20kB"
    max_trailer_bytes   = 0
    max_pipelined_bytes = "1.5 MiB"
  }

  timeouts {
    tls_handshake     = "250ms"
    request_head      = 2.5
    request_body_idle = "1m30s"
    keep_alive_idle   = "1h"
    write_idle        = "2d"
  }

  trusted_proxies = ["10.0.0.0/8", "192.168.1.7", "2001:db8::/32", "10.1.2.3/16"]
}

entrypoints "b" {
  address = "unix:/run/gateway.sock"
}

routers "all" {
  rule    = "PathPrefix(`/`)"
  service = "backend"
}

services "backend" {
  load_balancer {
    servers = [
      { url = "https://Example.COM/base/" },
      { url = "h2c://[2001:db8::1]:50051" },
      { url = "unix:/run/app.sock", weight = 0 },
      { url = "ws://backend" },
    ]

    health_check {
      path    = "/health?deep=1"
      status  = "200,204,300-399"
      headers = { X-Probe = "1" }
      port    = 9000
    }

    passive_health {
      statuses = []
    }

    stream_total_timeout = "2h"
  }
}

access_log {
  path   = "access.log"
  fields = ["timestamp", "status"]
  sample = 0.25
}

tracing {
  endpoint     = "https://collector.example.com/v1/traces?key=1"
  sample_ratio = 0
}

shutdown_timeout_secs = "1m"
shutdown_delay_secs = "1500ms"
