entrypoints "web" {
  address = "0.0.0.0:8080"
}

shutdown_timeout_secs = 30s
