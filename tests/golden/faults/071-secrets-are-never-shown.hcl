entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule        = "PathPrefix(`/api`)"
  service     = "whoami@internal"
  middlewares = ["a", "b", "c", "d"]
}

middlewares "a" {
  type     = "basic-auth"
  username = "admin"
  password = 31337
}

middlewares "b" {
  type = "api-key"
  keys = ["k-hunter2", 4711, "k-${UNSET_PART}-hunter3"]
}

middlewares "c" {
  type      = "rate-limit-redis"
  redis_url = "http://:hunter4@127.0.0.1:6379"
  rate      = 10
}

middlewares = { d = { type = "jwt", value = hunter5, heder = "X-Token" } }

admin {
  token = ["hunter6"]
}
