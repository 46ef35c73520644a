"""The admin API: what the gateway tells of itself, on a listener of its own or on a route."""
