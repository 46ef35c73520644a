"""Wire formats: bytes in, events out, and back; no clock, no sockets."""
