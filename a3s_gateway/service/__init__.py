"""Pools of servers: what is known of each, and which one is next."""
