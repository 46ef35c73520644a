routers "api" {
  rule    = "PathPrefix(`/api`)"
  service = "api"
}
