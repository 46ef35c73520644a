"""What is raised when there is no configuration: it is at fault, or could not be read at all."""

from __future__ import annotations

from collections.abc import Iterable

from a3s_gateway.hcl.diagnostics import Diagnostic, Sources, in_order, render


class ConfigError(Exception):
    """
    A configuration is at fault.

    Attributes:
        diagnostics: All faults and warnings, in the order of their places.
        sources: The texts they were found in, by path.

    """

    def __init__(self, diagnostics: Iterable[Diagnostic], sources: Sources | None = None) -> None:
        self.diagnostics = in_order(diagnostics)
        self.sources: Sources = sources or {}
        super().__init__(self.diagnostics, self.sources)

    def render(self, *, colour: bool = False) -> str:
        """Format every fault with its place, its line and a hint, for a terminal."""
        return render(self.diagnostics, self.sources, colour=colour)

    def __str__(self) -> str:
        return self.render()


class ReadingError(Exception):
    """The process that was to read a configuration has not come to an end of it."""
