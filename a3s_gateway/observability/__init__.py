"""What the gateway tells about itself: counters and the access log."""
