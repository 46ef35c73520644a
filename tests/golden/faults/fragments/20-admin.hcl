admin {
  enabled = false
}

services "extra" {
  load_balancer {
    servrs = []
  }
}
