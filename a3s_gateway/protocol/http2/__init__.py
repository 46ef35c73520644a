"""HTTP/2 (RFC 9113) and its compression of header fields (RFC 7541)."""
