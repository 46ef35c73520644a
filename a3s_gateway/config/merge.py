"""One configuration from several files: what a fragment may add, and how it is joined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from a3s_gateway.hcl.diagnostics import Diagnostic
from a3s_gateway.hcl.nodes import Body, Entry

FRAGMENT_KEYS = ("entrypoints", "routers", "services", "middlewares")


def merge(main: Body, fragments: Iterable[Body]) -> Body:
    """
    Join the entries of all files; a name declared in two of them is found when it is decoded.

    Args:
        main: The file that the gateway was started with.
        fragments: Those of `providers.file.directory`, in the order of their names.

    """
    added = [entry for each in fragments for entry in each.entries if _may_stand(entry)]
    return attrs.evolve(main, entries=(*main.entries, *added))


def misplaced(fragment: Body) -> Sequence[Diagnostic]:
    """Report what only the main file may hold: there can be one `admin`, and one answer to it."""
    hint = f"a file of providers.file.directory may hold: {', '.join(FRAGMENT_KEYS)}"
    return [
        Diagnostic(entry.span, f'"{entry.name}" must be in the main file', hint)
        for entry in fragment.entries
        if not _may_stand(entry)
    ]


def _may_stand(entry: Entry) -> bool:
    return entry.name in FRAGMENT_KEYS
