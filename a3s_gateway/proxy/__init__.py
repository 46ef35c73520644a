"""The last step of a request: one backend at a time."""
