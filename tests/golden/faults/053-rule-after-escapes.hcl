entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "Host(\"a.example.com\") && \u0050ath(\"/a\") && Foo(\"b\")"
  service = "whoami@internal"
}
