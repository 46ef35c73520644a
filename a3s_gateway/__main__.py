"""`python -m a3s_gateway`."""

from __future__ import annotations

from a3s_gateway.cli import main

if __name__ == "__main__":
    main()
