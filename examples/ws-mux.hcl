# Publish and subscribe over WebSockets: many channels on each connection.
#   a3s-gateway --config examples/ws-mux.hcl
#   then, in a browser's console: ws = new WebSocket("ws://localhost:8080/ws")
entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "channels" {
  rule    = "Path(`/ws`)"
  service = "mux@internal"
}

ws_mux {
  channels        = ["news", "room-*"] # without this line: any
  max_channels    = 64                 # that one connection may subscribe to
  queue           = 256                # messages that wait for a client that reads too slowly
  slow_consumer   = "drop-oldest"      # or "close"
  allowed_origins = ["http://localhost:8080", "https://app.example.com"]
  # redis_url     = "redis://127.0.0.1:6379/0" # to be heard on other gateways, too
}
