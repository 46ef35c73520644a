# The shortest way to see the gateway answer: no other server is needed.
#   curl localhost:8080/
entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "everything" {
  rule    = "PathPrefix(`/`)"
  service = "whoami@internal" # built in: it answers with what it received
}
