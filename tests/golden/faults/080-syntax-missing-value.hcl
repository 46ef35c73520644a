entrypoints "web" {
  address =
}
