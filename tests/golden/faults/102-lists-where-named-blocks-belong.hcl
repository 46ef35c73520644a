entrypoints "web" {
  address = "0.0.0.0:8080"
}

services = [{ name = "backend" }]
middlewares = true
