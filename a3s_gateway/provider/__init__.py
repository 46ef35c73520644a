"""Where configuration comes from while the gateway runs."""
