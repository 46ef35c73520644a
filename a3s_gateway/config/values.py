"""Attributes to values: evaluated, checked by their kind, and reported by their name."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import Any

import attrs
from attrs import define, field

from a3s_gateway.config.schema import Key, ListKind, RejectedError, ScalarKind
from a3s_gateway.hcl.diagnostics import Diagnostic, Note, Severity, Span
from a3s_gateway.hcl.evaluate import EvaluationError, Scope, evaluate
from a3s_gateway.hcl.nodes import Expression, Fields, Items, Plain, Scalar, Template

INVALID: Any = object()  # stands for a value that has been reported
_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?")
_SHOWN = 60  # characters of a wrong value that a message repeats

Nodes = dict[str, Expression | Span]


@define
class Values:
    """
    Makes values and collects what is wrong with them; one reads one configuration.

    Attributes:
        faults: Everything found so far; reading goes on after each.
        secrets: Where secret values are written.

    """

    scope: Scope
    faults: list[Diagnostic] = field(factory=list)
    secrets: list[Span] = field(factory=list)

    def fault(
        self,
        span: Span,
        message: str,
        hint: str = "",
        notes: tuple[Note, ...] = (),
        severity: Severity = "error",
    ) -> None:
        """Add one fault, or a warning."""
        self.faults.append(Diagnostic(span, message, hint, severity, notes))

    def attribute(self, key: Key, value: Expression, nodes: Nodes) -> Any:
        """Return what an attribute stands for, or `INVALID`; note its place in `nodes`."""
        if key.is_secret:
            self.secrets += _secrets(value)
        if isinstance(key.kind, ListKind):
            return self._list(key, key.kind, value, nodes)
        assert isinstance(key.kind, ScalarKind)
        scalar = self._scalar(key, value)
        if scalar is None:
            return INVALID
        nodes[key.name] = value.span if key.is_secret else scalar
        return self._value(key, key.kind, scalar)

    def _list(self, key: Key, kind: ListKind[Any], value: Expression, nodes: Nodes) -> Any:
        if not isinstance(value, Items):
            shown = self.shown(value, key)
            one = shown if isinstance(value, Scalar) and not key.is_secret else "..."
            message = f'"{key.name}" must be a list, not {shown}'
            self.fault(value.span, message, f"write {key.name} = [{one}]")
            return INVALID
        scalars = [self._scalar(key, each) for each in value.values]
        found = [INVALID if each is None else self._value(key, kind.item, each) for each in scalars]
        evaluated = tuple(s or v for s, v in zip(scalars, value.values, strict=True))
        nodes[key.name] = value.span if key.is_secret else Items(evaluated, value.span)
        if len(found) < kind.at_least:
            self.fault(value.span, f'"{key.name}" must not be empty')
            return INVALID
        return INVALID if any(each is INVALID for each in found) else tuple(found)

    def _scalar(self, key: Key, value: Expression) -> Scalar | None:
        try:
            scalar = evaluate(value, self.scope)
        except EvaluationError as error:
            fault = error.fault
            self.faults.append(attrs.evolve(fault, hint="") if _tells(key, value) else fault)
            return None
        if scalar is None:
            hint = f"write {key.name} = {key.example}" if key.example else ""
            message = f'"{key.name}" must be one value, not {self.shown(value)}'
            self.fault(value.span, message, hint)
        return scalar

    def _value(self, key: Key, kind: ScalarKind[Any], scalar: Scalar) -> Any:
        value = scalar.value
        if kind.is_path and isinstance(value, str) and value and scalar.span.path:
            folder = os.path.dirname(scalar.span.path)  # noqa: PTH120  # text in, text out
            value = os.path.join(folder, value)  # noqa: PTH118
        for candidate in (value, *_untyped(scalar)):
            try:
                return kind.parse(candidate)
            except RejectedError as error:
                rejected = error
        found = rejected.found or self.shown(scalar, key)
        subject = f'"{key.name}"'
        if isinstance(key.kind, ListKind):
            subject = f'a value in "{key.name}"'
        message = f"{subject} must be {rejected.expected}, not {found}"
        self.fault(scalar.span, message, rejected.hint)
        return INVALID

    def shown(self, value: Expression, key: Key | None = None) -> str:
        """Name a value in a message; a secret only by its type."""
        match value:
            case Scalar(value=plain, is_borrowed=is_borrowed):
                return _shown_plain(plain, is_secret=is_borrowed or bool(key and key.is_secret))
            case Template():
                return "text"
            case Items():
                return "a list"
            case Fields():
                return "an object"
        return "this"


def _shown_plain(plain: Plain, *, is_secret: bool) -> str:
    if isinstance(plain, bool):
        return str(plain).lower()
    if plain is None:
        return "null"
    if is_secret:
        return "this text" if isinstance(plain, str) else "a number"
    if isinstance(plain, str):
        return json.dumps(
            plain if len(plain) <= _SHOWN else f"{plain[:_SHOWN]}...", ensure_ascii=False
        )
    return str(plain)


def _secrets(value: Expression) -> Iterable[Span]:
    """List where the text of a secret stands; the names of variables are none."""
    match value:
        case Scalar(span=span, pieces=pieces):
            yield from [piece.span for piece in pieces] or [span]
        case Template(parts=parts) | Items(values=parts):
            for part in parts:
                yield from _secrets(part)


def _untyped(scalar: Scalar) -> Iterable[Plain]:
    """Read a text from the environment as a number or a truth value, which it cannot say itself."""
    text = str(scalar.value).strip()
    if not scalar.is_borrowed:
        return
    if text in {"true", "false"}:
        yield text == "true"
    if _NUMBER.fullmatch(text):
        yield int(text) if text.lstrip("-").isdigit() else float(text)


def _tells(key: Key, value: Expression) -> bool:
    """Tell whether the hint of a fault would repeat a secret, such as a bare word."""
    return key.is_secret and not isinstance(value, Template)
