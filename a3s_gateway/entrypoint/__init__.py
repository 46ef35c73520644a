"""Listeners, and what happens on the connections they accept."""
