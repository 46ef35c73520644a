entrypoints "web" {
  address = ":8080"
}

providers {
  file {
    watch     = false
    directory = "parts"
  }
}

admin {
  enabled = false
}
