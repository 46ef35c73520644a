"""HTTP/1.1 (RFC 9112), both sides, sans I/O."""
