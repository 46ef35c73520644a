"""What an expression stands for: variables of the environment, and the two functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from a3s_gateway.hcl.diagnostics import Diagnostic, Span, suggest
from a3s_gateway.hcl.nodes import (
    Call,
    Environment,
    Expression,
    Reference,
    Scalar,
    Template,
    Unsupported,
)
from a3s_gateway.hcl.strings import assemble

FUNCTIONS = ("env", "file")


class EvaluationError(Exception):
    """An expression has no value; `fault` says why and where."""

    def __init__(self, fault: Diagnostic) -> None:
        super().__init__(fault.message)
        self.fault = fault


@frozen
class Scope:
    """
    What expressions may refer to.

    Attributes:
        environment: The variables that `"${NAME}"` and `env("NAME")` read.
        read: Returns the text of a file for `file("path")`: called with the path and the name of
            the text that says so. Raises OSError or UnicodeDecodeError.

    """

    environment: Environment
    read: Callable[[str, str], str]


def evaluate(expression: Expression, scope: Scope) -> Scalar | None:
    """
    Return the scalar that an expression stands for; None if it is a list or an object.

    Raises:
        EvaluationError: It stands for nothing: a variable is not set, a file cannot be read.

    """
    match expression:
        case Scalar():
            return expression
        case Template(parts=parts, span=span):
            return _template(parts, span, scope)
        case Call():
            return _call(expression, scope)
        case Reference(name=name, span=span):
            hint = f'put it in double quotes: "{name}"'
            if name.isupper():
                hint += f'; for a variable of the environment: "${{{name}}}"'
            raise _fault(span, "a bare word is not a value", hint)
        case Unsupported(what=what, span=span):
            hint = 'allowed: strings, numbers, lists, objects, "${NAME}", env("NAME"), file("path")'
            raise _fault(span, f"{what} is not supported in a configuration", hint)
        case _:
            return None


def _template(parts: Sequence[Expression], span: Span, scope: Scope) -> Scalar:
    found = [_inside(part, scope) for part in parts]
    return assemble(found, span, is_borrowed=all(each.is_borrowed for each in found))


def _inside(part: Expression, scope: Scope) -> Scalar:
    """Evaluate one part of a template; there, a bare word is a variable."""
    if isinstance(part, Reference):
        return _variable(part.name, part.span, scope)
    value = evaluate(part, scope)
    if value is None:
        raise _fault(part.span, "a list or an object cannot be part of a string")
    return value


def _variable(name: str, span: Span, scope: Scope, default: Scalar | None = None) -> Scalar:
    if name in scope.environment:
        return Scalar(scope.environment[name], span, is_borrowed=True)
    if default is not None:
        return Scalar(default.value, default.span, default.pieces, is_borrowed=True)
    hint = suggest_variable(name, scope.environment)
    raise _fault(span, f'environment variable "{name}" is not set', hint)


def suggest_variable(name: str, environment: Environment) -> str:
    """Word the hint for a variable that is not set."""
    near = suggest(name, [each for each in environment if each.isupper()])
    if near.startswith("did you mean"):
        return near
    return f'set it, or give a default: env("{name}", "...")'


def _call(call: Call, scope: Scope) -> Scalar:
    if call.name not in FUNCTIONS:
        hint = suggest(call.name, FUNCTIONS, what="functions")
        raise _fault(call.span, f'there is no function "{call.name}"', hint)
    arguments = [evaluate(argument, scope) for argument in call.arguments]
    match call.name, arguments:
        case "env", [Scalar(value=str() as name) as given]:
            return _variable(name, given.span, scope)
        case "env", [Scalar(value=str() as name) as given, Scalar(value=str()) as default]:
            return _variable(name, given.span, scope, default)
        case "file", [Scalar(value=str() as path) as given]:
            return _file(path, given.span, scope)
    usage = {"env": 'env("NAME") or env("NAME", "default")', "file": 'file("path")'}[call.name]
    raise _fault(call.span, f"wrong arguments for {call.name}()", f"use {usage}")


def _file(path: str, span: Span, scope: Scope) -> Scalar:
    try:
        text = scope.read(path, span.path)
    except OSError as error:
        raise _fault(span, f'cannot read file "{path}": {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise _fault(span, f'file "{path}" is not UTF-8 text') from error
    return Scalar(text.strip(), span, is_borrowed=True)


def _fault(span: Span, message: str, hint: str = "") -> EvaluationError:
    return EvaluationError(Diagnostic(span, message, hint))
