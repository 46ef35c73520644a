entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule = <<-EOT
    Host(`a.example.com`)
      && PathPrefx(`/v1`)
  EOT
  service = "whoami@internal"
}
