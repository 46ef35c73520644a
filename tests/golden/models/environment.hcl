entrypoints "web" {
  address         = "0.0.0.0:${PORT}"
  max_connections = env("LIMIT")
}

routers "api" {
  rule     = "Host(`${DOMAIN}`) && PathRegexp(`^/a{2}$`)"
  service  = env("SERVICE", "whoami@internal")
  priority = env("PRIORITY", "7")

  middlewares = ["auth", "tenant"]
}

middlewares "auth" {
  type  = "jwt"
  value = "${JWT_SECRET}"
}

middlewares "tenant" {
  type = "headers"

  request_headers = {
    X-Raw      = "100%, %%{x}, $5, $${x}"
    X-Greeting = "${GREETING}, \"${env("NAME", "world")}\" \u00e9"
    X-File     = file("greeting.txt")
  }
}

admin {
  token = "${JWT_SECRET}"
}

providers {
  file {
    watch = env("WATCH")
  }
}
