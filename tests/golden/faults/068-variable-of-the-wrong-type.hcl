entrypoints "web" {
  address         = "0.0.0.0:${PORT}"
  max_connections = env("GREETING")
}

routers "api" {
  rule    = "PathPrefix(`/${UNSET_PATH}`)"
  service = "whoami@internal"
}
