# Every kind of block at once, also those that have no function yet: `validate` warns of these, and the
# gateway does not start with them. To check it, give it a secret and a folder with cert.pem and
# key.pem:
#
#   JWT_SECRET=$(openssl rand -base64 32) CERT_DIR=/etc/certs a3s-gateway validate --config full.hcl
#
# docs/config-reference.md explains every key, also those that are left at their defaults here;
# examples/middlewares.hcl has a middleware of each type.

# Entrypoints — network listeners
entrypoints "web" {
  address = "0.0.0.0:80"
}

entrypoints "websecure" {
  address         = "0.0.0.0:443"
  trusted_proxies = ["10.0.0.0/8"]

  tls {
    cert_file   = "${env("CERT_DIR", "/etc/certs")}/cert.pem"
    key_file    = "${env("CERT_DIR", "/etc/certs")}/key.pem"
    min_version = "1.2"

    # More certificates: a client gets the one for the name it asks for.
    certificates {
      cert_file = "${env("CERT_DIR", "/etc/certs")}/cert.pem"
      key_file  = "${env("CERT_DIR", "/etc/certs")}/key.pem"
    }

    client_auth {
      mode = "request" # with ca_files, "require" lets only those in whose certificates they signed
    }
  }

  http2 {
    max_concurrent_streams = 128
  }

  limits {
    max_head_bytes = "32KiB"
  }

  timeouts {
    request_head    = "10s"
    keep_alive_idle = "75s"
  }
}

entrypoints "tcp-db" {
  address         = "0.0.0.0:5432"
  protocol        = "tcp"
  max_connections = 100
  tcp_allowed_ips = ["10.0.0.0/8"]

  proxy_protocol {
    trusted_ips = ["10.0.0.1"]
  }
}

entrypoints "udp-dns" {
  address                  = "0.0.0.0:5353"
  protocol                 = "udp"
  udp_session_timeout_secs = 30
  udp_max_sessions         = 10000
}

# Routers — request matching
routers "api" {
  rule        = "Host(`api.example.com`) && PathPrefix(`/v1`)"
  service     = "api-service"
  entrypoints = ["websecure"]
  middlewares = ["auth-jwt", "rate-limit"]
}

routers "hello" {
  rule        = "Path(`/hello`) && Method(`GET`)"
  service     = "whoami@internal"
  entrypoints = ["web"]
  priority    = 100
}

routers "channels" {
  rule        = "Host(`api.example.com`) && Path(`/channels`)"
  service     = "mux@internal"
  entrypoints = ["websecure"]
}

routers "database" {
  rule        = "HostSNI(`*`)"
  service     = "database"
  entrypoints = ["tcp-db"]
  middlewares = ["few-connections"]

  tls {
    passthrough = true
  }
}

routers "dns" {
  rule        = "HostSNI(`*`)"
  service     = "dns"
  entrypoints = ["udp-dns"]
}

# Services — backend pools
services "api-service" {
  load_balancer {
    strategy = "round-robin"
    servers = [
      { url = "http://127.0.0.1:8001" },
      { url = "http://127.0.0.1:8002" }
    ]

    health_check {
      path     = "/health"
      interval = "10s"
    }

    passive_health {
      failures = 5
      window   = "30s"
      ejection = "30s"
    }

    sticky {
      cookie = "srv_id"
    }

    pool {
      max_idle_connections = 256
    }

    connect_timeout     = "5s"
    request_timeout     = "60s"
    stream_idle_timeout = "5m"
  }

  # Traffic mirroring (optional)
  mirror {
    service    = "shadow-backend"
    percentage = 10
  }

  # Failover (optional)
  failover {
    service = "backup-pool"
  }

  # Autoscaling (optional)
  scaling {
    min_replicas          = 0
    max_replicas          = 10
    container_concurrency = 50
    target_utilization    = 0.7
    buffer_enabled        = true
    executor              = "box"
  }

  # Revision traffic splitting (optional)
  revisions = [
    { name = "v1", traffic_percent = 90, strategy = "round-robin",
      servers = [{ url = "http://127.0.0.1:8001" }] },
    { name = "v2", traffic_percent = 10, strategy = "round-robin",
      servers = [{ url = "http://127.0.0.1:8003" }] }
  ]

  # Gradual rollout (optional)
  rollout {
    from                 = "v1"
    to                   = "v2"
    step_percent         = 10
    step_interval_secs   = 60
    error_rate_threshold = 0.05
    latency_threshold_ms = 5000
  }
}

services "shadow-backend" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8004" }]
  }
}

services "backup-pool" {
  load_balancer {
    strategy = "weighted"
    servers = [
      { url = "https://backup-1.example.com", weight = 3 },
      { url = "https://backup-2.example.com", weight = 1 }
    ]

    tls {
      server_name = "backup.example.com"
    }
  }
}

services "database" {
  load_balancer {
    strategy = "least-connections"
    servers  = [{ url = "tcp://127.0.0.1:5433" }]
  }
}

services "dns" {
  load_balancer {
    servers = [{ url = "udp://127.0.0.1:5354" }]
  }
}

# Middlewares
middlewares "auth-jwt" {
  type  = "jwt"
  value = "${JWT_SECRET}"
}

middlewares "rate-limit" {
  type  = "rate-limit"
  rate  = 100
  burst = 50
}

middlewares "few-connections" {
  type            = "tcp-filter"
  max_connections = 100
}

# Channels over WebSockets, for routers to mux@internal
ws_mux {
  channels        = ["news", "room-*"]
  allowed_origins = ["https://app.example.com"]
}

# Providers
providers {
  file {
    watch     = true
    directory = "/etc/gateway/conf.d/"
  }

  discovery {
    poll_interval_secs = 30
    seeds = [
      { url = "http://10.0.0.5:8080" },
      { url = "http://10.0.0.6:8080" }
    ]
  }

  dns {
    refresh_interval_secs = 30
  }

  docker {
    label_prefix = "a3s"
  }

  kubernetes {
    namespace = "default"
  }
}

# Operations
admin {
  address     = "127.0.0.1:9900"
  path_prefix = "/api/gateway"
}

access_log {
  format = "json"
  sample = 1.0
}

tracing {
  sample_ratio = 0.1
}

shutdown_delay_secs   = 5
shutdown_timeout_secs = 30
