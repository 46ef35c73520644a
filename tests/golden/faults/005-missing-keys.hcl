entrypoints "web" {
}

routers "api" {
  entrypoints = ["web"]
}
