"""From a configuration to what answers requests, and how the one replaces the other."""
