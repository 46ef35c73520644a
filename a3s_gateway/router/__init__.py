"""Which router answers a request: the rule language, its matchers, the table of routes."""
