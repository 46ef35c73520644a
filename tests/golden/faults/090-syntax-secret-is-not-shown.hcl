entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule        = "PathPrefix(`/api`)"
  service     = "whoami@internal"
  middlewares = ["m"]
}

middlewares "m" {
  type = "api-key"
  keys = [
    "hunter2",
    "hunter3" "hunter4"
  ]
}
