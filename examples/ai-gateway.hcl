# Language models behind one door: each client has a key and a rate of its own, answers stream for as long as
# tokens come. See docs/streaming.md. To try it without a model, exchange the services for "whoami@internal":
#
#   a3s-gateway --config examples/ai-gateway.hcl
#   curl -N -H 'X-API-Key: only-for-this-example' -d '{"stream": true}' localhost:8080/v1/chat/completions

entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "completions" {
  rule        = "PathPrefix(`/v1`) && Method(`POST`)"
  service     = "models"
  middlewares = ["keys", "per-client", "prompts", "once-more"]
}

# What else there is (the list of models and the like) costs little.
routers "rest" {
  rule        = "PathPrefix(`/v1`)"
  service     = "models"
  middlewares = ["keys", "once-more"]
}

middlewares "keys" {
  type   = "api-key"
  header = "X-API-Key"

  # The access log has the name as `user`; the servers never see the key.
  clients = [
    { name = "shop", key = env("SHOP_KEY", "only-for-this-example") },
    { name = "support", key = env("SUPPORT_KEY", "another-for-this-example") }
  ]
}

middlewares "per-client" {
  type   = "rate-limit"
  source = "api-key" # each client by its name, wherever it comes from
  rate   = 60
  period = "1m"
  burst  = 10
}

middlewares "prompts" {
  type           = "body-limit"
  max_body_bytes = "10MiB"
}

# Before the first byte of an answer only, and at another server if there is one.
middlewares "once-more" {
  type           = "retry"
  max_retries    = 1
  methods        = ["GET", "HEAD", "POST"] # to ask a model twice does no harm but to its time
  statuses       = "502-503"
  max_body_bytes = "1MiB" # a larger prompt is not kept to be sent again
}

services "models" {
  load_balancer {
    strategy = "least-connections" # answers differ much in length
    protocol = "auto"              # HTTP/2 where an https server prefers it
    servers = [
      { url = "http://127.0.0.1:8001" },
      { url = "http://127.0.0.1:8002" }
    ]

    request_timeout     = "10m" # a model may think for long before its first byte
    stream_idle_timeout = "2m"  # but then there are tokens, or comments; no stream_total_timeout

    health_check {
      path = "/health"
    }
  }
}
