"""
Write the reference of the configuration, from the classes that are the configuration.

`python -m a3s_gateway.config.reference [FILE]` writes it to a file, or to standard output.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from a3s_gateway.config.middleware import MiddlewareConfig
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.schema import (
    SHOWN_BLOCK,
    BlockKind,
    BlocksKind,
    Key,
    ListKind,
    MapKind,
    NamedKind,
    PluginKind,
    ScalarKind,
    Section,
    schema,
)
from a3s_gateway.plugin import plugins

_NESTED = (BlockKind, BlocksKind, NamedKind, PluginKind)
_LABELS = {"entrypoints": "web", "routers": "api", "services": "backend", "middlewares": "example"}
_INTRODUCTION = """\
# Configuration reference

A configuration is a text in [HCL](https://github.com/hashicorp/hcl/blob/main/hclsyntax/spec.md),
usually called `gateway.hcl`. `a3s-gateway validate --config gateway.hcl` checks it, and reports all
faults at once. This page lists every block and key; it is generated from the classes that read
them.

## The smallest one

```hcl
entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "PathPrefix(`/api`)"
  service = "backend"
}

services "backend" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8001" }]
  }
}
```

## The language

- A block is `name { ... }`, or `name "label" { ... }` where the label declares a name. A nested
  block may also be written as an object, `name = { ... }`, and a list of objects as a block that
  is repeated. Comments begin with `#` or `//`, or stand between `/*` and `*/`.
- `"${NAME}"` is the environment variable `NAME`, alone or within a text. `env("NAME")` is the same
  outside of quotes, and `env("NAME", "default")` does not need it to be set. `file("path")` is the
  content of a file, without blanks and line breaks around it. `$${` stands for `${` itself.
- A **duration** is a text such as `"250ms"`, `"10s"`, `"1m30s"` or `"2h"`, or a number of seconds
  (of milliseconds in a key that ends in `_ms`). A **size** is a number of bytes, or a text such as
  `"10MB"` (10,000,000) or `"1MiB"` (1,048,576).
- An **address** is `"0.0.0.0:80"`, `":80"` (every interface), `"[::]:443"`, `"localhost:8080"` or
  `"unix:/path"`.
- A **path** of a file is relative to the folder of the configuration file.
- Unknown keys are errors, and so is everything else that would have no effect.
"""


@attrs.frozen
class Chapter:
    """
    One block of the page.

    Attributes:
        path: The names of the blocks down to it; empty for the top level.
        type_name: Of a middleware.

    """

    path: tuple[str, ...]
    section: type[Section]
    type_name: str = ""

    @property
    def heading(self) -> str:
        """What the block is called on the page."""
        if self.type_name:
            return f'type = "{self.type_name}"'
        label = ' "<name>"' if self.path[-1] in _LABELS else ""
        return ".".join(self.path) + label

    @property
    def anchor(self) -> str:
        """The address of the heading within the page, as Markdown renderers make it."""
        kept = (c for c in self.heading.lower() if c.isalnum() or c in " -_")
        return "".join(kept).replace(" ", "-")


def chapters() -> list[Chapter]:
    """List the blocks in the order of the page: each before what it contains."""
    return list(_walk(Chapter((), GatewayConfig)))


def _walk(chapter: Chapter) -> Iterator[Chapter]:
    yield chapter
    for key in schema(chapter.section).values():
        if isinstance(key.kind, _NESTED):
            inner = Chapter((*chapter.path, key.name), key.kind.section)
            yield from _walk(inner)
        if isinstance(key.kind, PluginKind):
            for each in _types(inner, key.kind):
                yield from _walk(each)


def _types(chapter: Chapter, kind: PluginKind[Any]) -> list[Chapter]:
    found = sorted(plugins(kind.plugin).items())
    return [Chapter(chapter.path, plugin.config, name) for name, plugin in found]


def reference() -> str:
    """Return the whole page."""
    pages = [_INTRODUCTION, *(_chapter(each) for each in chapters())]
    return "\n".join(pages).rstrip() + "\n"


def _chapter(chapter: Chapter) -> str:
    lines = ["## Top level", "", "What stands in the file outside of any block.", ""]
    if chapter.path:
        level = "#" * min(len(chapter.path) + 1 + bool(chapter.type_name), 4)
        lines = [f"{level} `{chapter.heading}`", "", _summary(chapter.section), ""]
        lines += ["```hcl", *example(chapter), "```", ""]
    keys = schema(chapter.section).values()
    if keys:
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        lines += [*(_row(chapter, key) for key in keys), ""]
    if chapter.section is MiddlewareConfig:
        lines += ["| type | what it does |", "|---|---|"]
        types = _types(chapter, PluginKind(MiddlewareConfig, "middleware"))
        lines += [f"| [`{t.type_name}`](#{t.anchor}) | {_summary(t.section)} |" for t in types]
        lines.append("")
    return "\n".join(lines)


def _summary(section: type[Section]) -> str:
    return (inspect.getdoc(section) or "").split("\n")[0]


def _row(chapter: Chapter, key: Key) -> str:
    return f"| `{key.name}` | {_type(chapter, key)} | {_default(key)} | {_escaped(key.doc)} |"


def _type(chapter: Chapter, key: Key) -> str:
    secret = ", secret" if key.is_secret else ""
    match key.kind:
        case ScalarKind(title=title):
            return _escaped(title) + secret
        case ListKind(item=item):
            return f"list: {_escaped(item.title)}{secret}"
        case MapKind(name=name, item=item):
            return f"object: {name.title} = {item.title}"
    words = {BlockKind: "block", BlocksKind: "list of blocks"}
    target = Chapter((*chapter.path, key.name), Section)
    return f"[{words.get(type(key.kind), 'named blocks')}](#{target.anchor})"


def _default(key: Key) -> str:
    if key.is_required:
        return "**required**"
    if key.default_doc:
        return key.default_doc
    if isinstance(key.kind, BlockKind) and key.default is not None:
        return "its defaults"
    default: Any = key.default
    if default in (None, ()) or isinstance(default, type(attrs.Factory(dict))):
        return "none"
    return _escaped(f"`{_hcl(key, default)}`")


def _hcl(key: Key, value: Any) -> str:
    """Write a value of a key the way people write it."""
    match key.kind:
        case ListKind(item=item):
            return f"[{', '.join(_scalar(item, each) for each in value)}]"
        case ScalarKind() as kind:
            return _scalar(kind, value)
    raise TypeError(key.kind)


def _scalar(kind: ScalarKind[Any], value: Any) -> str:
    if kind.title == "duration" and value:
        for unit, seconds in (("h", 3600), ("m", 60), ("s", 1)):
            if value % seconds == 0:
                return f'"{int(value / seconds)}{unit}"'
    if kind.title == "size" and value and value % 1024 == 0:
        return f'"{value // 1024}KiB"'
    shown = kind.show(value)
    if isinstance(shown, bool):
        return str(shown).lower()
    return f'"{shown}"' if isinstance(shown, str) else str(shown)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def example(chapter: Chapter) -> list[str]:
    """Write a small instance of a block, inside the blocks it stands in."""
    lines = _example_body(chapter.section, chapter.type_name)
    for name in reversed(chapter.path):
        label = f' "{_LABELS[name]}"' if name in _LABELS and name == chapter.path[0] else ""
        lines = [f"{name}{label} {{", *(f"  {line}" for line in lines), "}"]
    return lines


def _example_body(section: type[Section], type_name: str = "") -> list[str]:
    """Write the keys that have an example, or else the first ones with their defaults."""
    keys = schema(section).values()
    pairs = [(key.name, key.example) for key in keys if key.example != SHOWN_BLOCK and key.example]
    if type_name:
        pairs.insert(0, ("type", f'"{type_name}"'))
    blocks = [key for key in keys if key.example == SHOWN_BLOCK]
    if len(pairs) <= bool(type_name) and not blocks:
        plain = [
            k for k in keys if isinstance(k.kind, ScalarKind | ListKind) and _default(k) != "none"
        ]
        pairs += [(key.name, _hcl(key, key.default)) for key in plain[:3]]
    width = max((len(name) for name, _ in pairs), default=0)
    lines = [f"{name:<{width}} = {value}" for name, value in pairs]
    for key in blocks:
        assert isinstance(key.kind, BlockKind)
        lines += [
            "",
            f"{key.name} {{",
            *(f"  {each}" for each in _example_body(key.kind.section)),
            "}",
        ]
    return lines if not blocks or pairs else lines[1:]


def main() -> None:
    """Write the page where the command line says."""
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
    else:
        sys.stdout.write(reference())


if __name__ == "__main__":
    main()
