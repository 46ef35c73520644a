services "api" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8001" }]
  }
}
