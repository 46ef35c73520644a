entrypoints "web" {
  address = "0.0.0.0:8080"
  max_connections = 10 * 1000
}

routers "api" {
  rule     = var.rule
  service  = true ? "a" : "b"
  priority = [for x in y : x]
}
