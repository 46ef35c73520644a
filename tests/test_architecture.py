"""The rules of docs/architecture.md that a machine can check, and proof that the checks bite."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from textwrap import dedent

import pytest
from attrs import frozen

ROOT = Path(__file__).parent.parent
PACKAGE = "a3s_gateway"
LAYERS = (  # from the bottom; a module imports from its own layer or from one before it
    {
        "protocol",
        "hcl",
        "http",
        "headers",
        "body",
        "effects",
        "plugin",
        "plugin_files",
        "errors",
        "faults",
        "task",
    },
    {"config", "router", "transport"},
    {"service", "scaling", "observability"},
    {"middleware", "proxy", "provider", "acme"},
    {"runtime", "dataplane", "tunnels", "datagrams", "admin"},
    {"entrypoint"},
    {"gateway", "__init__", "logs", "extension", "testing"},
    {"cli", "tap", "process", "__main__"},
)
SHELL_LAYER = 5  # of every *_service.py, wherever it lies
TWISTED_PARTS = {
    "transport",
    "entrypoint",
    "proxy",
    "admin",
    "effects",
    "gateway",
    "tap",
    "cli",
    "process",
    "logs",
}
REACTOR_PARTS = {"cli", "tap", "gateway"}  # gateway: for who calls it without one
COLOURED = {"twisted", "treq", "txredisapi"}  # their results are Deferreds
MAX_FILE, MAX_FUNCTION = 400, 50  # lines


@frozen
class Import:
    """One imported name: `target` is absolute, `name` what is taken from it, if anything."""

    line: int
    target: str
    name: str | None = None
    for_types: bool = False  # under `if TYPE_CHECKING:`


@frozen
class Module:
    """One source file of the package under test."""

    dotted: str
    path: PurePosixPath  # relative to the package's folder
    source: str

    @property
    def part(self) -> str:
        """The first component under the package: what the layers are made of."""
        return self.path.with_suffix("").parts[0]

    @property
    def is_shell(self) -> bool:
        return self.path.stem.endswith("_service")

    @property
    def layer(self) -> int | None:
        """Counted from the bottom; `None` for a part that no layer lists."""
        if self.is_shell:
            return SHELL_LAYER
        return next((n for n, layer in enumerate(LAYERS) if self.part in layer), None)

    @property
    def imports(self) -> Iterator[Import]:
        """Every import, wherever it stands: under TYPE_CHECKING and in functions too."""
        package = self.dotted.split(".")
        if self.path.name != "__init__.py":
            package.pop()
        tree = ast.parse(self.source)
        for_types = type_checking_nodes(tree)
        for node in ast.walk(tree):
            typed = node in for_types
            if isinstance(node, ast.Import):
                yield from (Import(node.lineno, a.name, None, typed) for a in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) + 1 - node.level] if node.level else []
                target = ".".join([*base, *([node.module] if node.module else [])])
                yield from (Import(node.lineno, target, a.name, typed) for a in node.names)


def type_checking_nodes(tree: ast.Module) -> set[ast.AST]:
    """Collect what only a type checker ever executes."""
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }


Tree = dict[str, Module]  # by dotted name


def read_tree(root: Path) -> Tree:
    """Read every module of the package that lies in `root`."""
    tree = {}
    for file in sorted((root / PACKAGE).rglob("*.py")):
        path = PurePosixPath(file.relative_to(root / PACKAGE))
        parts = path.with_suffix("").parts
        dotted = ".".join([PACKAGE, *(parts[:-1] if parts[-1] == "__init__" else parts)])
        tree[dotted] = Module(dotted, path, file.read_text(encoding="utf-8"))
    return tree


def find_target(tree: Tree, wanted: Import) -> Module | None:
    """Find the module of ours that an import names: a submodule rather than its package."""
    submodule = tree.get(f"{wanted.target}.{wanted.name}") if wanted.name else None
    return submodule or tree.get(wanted.target)


def internal_imports(tree: Tree, module: Module) -> Iterator[tuple[Import, Module]]:
    for wanted in module.imports:
        target = find_target(tree, wanted)
        if target is not None:
            yield wanted, target


def homeless_modules(tree: Tree) -> list[str]:
    return [str(m.path) for m in tree.values() if m.layer is None]


def upward_imports(tree: Tree) -> list[str]:
    return [
        f"{module.path}:{wanted.line} (layer {module.layer})"
        f" imports {target.path} (layer {target.layer})"
        for module in tree.values()
        for wanted, target in internal_imports(tree, module)
        if module.layer is not None and target.layer is not None and target.layer > module.layer
    ]


def import_cycle(tree: Tree) -> list[str]:
    """Find modules that need each other to run; two of a layer may name each other's types."""
    graph = {
        name: {
            target.dotted
            for wanted, target in internal_imports(tree, module)
            if not wanted.for_types and target is not module
        }
        for name, module in tree.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def coloured_imports(tree: Tree) -> list[str]:
    """Find Twisted where plain Python belongs, and the global reactor outside the entry points."""
    found = []
    for module in tree.values():
        for wanted in module.imports:
            full = f"{wanted.target}.{wanted.name}" if wanted.name else wanted.target
            top = full.split(".")[0]
            coloured = top in COLOURED and not (module.is_shell or module.part in TWISTED_PARTS)
            is_reactor = full.startswith("twisted.internet.reactor")
            if coloured or (is_reactor and module.part not in REACTOR_PARTS):
                found.append(f"{module.path}:{wanted.line} imports {full}")
    return found


def too_long(tree: Tree) -> list[str]:
    found = []
    for module in tree.values():
        lines = module.source.count("\n")
        if lines > MAX_FILE:
            found.append(f"{module.path} has {lines} lines")
        for node in ast.walk(ast.parse(module.source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION:
                    found.append(f"{module.path}:{node.lineno} {node.name} has {length} lines")
    return found


def intruders(root: Path) -> list[str]:
    """Find the files that would overwrite Twisted's own when installed."""
    return [str(p.relative_to(root)) for p in sorted((root / "twisted").rglob("__init__.py"))]


@pytest.fixture(scope="module")
def ours() -> Tree:
    return read_tree(ROOT)


def test_every_module_has_a_layer(ours: Tree) -> None:
    """A new folder or top-level file gets its place in the picture before it gets code."""
    assert f"{PACKAGE}.gateway" in ours
    assert homeless_modules(ours) == []


def test_imports_point_down(ours: Tree) -> None:
    """No layer knows one above it, not even for its type annotations."""
    assert upward_imports(ours) == []


def test_no_module_needs_itself(ours: Tree) -> None:
    """Any module can be read by reading what it imports first."""
    assert import_cycle(ours) == []


def test_twisted_stays_in_the_shells(ours: Tree) -> None:
    """What decides can be read, tested and fuzzed without Twisted; the reactor is a parameter."""
    assert coloured_imports(ours) == []


def test_sizes(ours: Tree) -> None:
    """A file is read in one sitting, a function on one screen."""
    assert too_long(ours) == []


def test_twisteds_own_packages_are_left_alone() -> None:
    """Installing the gateway does not overwrite a file of Twisted's."""
    assert (ROOT / "twisted" / "plugins").is_dir()
    assert intruders(ROOT) == []


def plant(root: Path, files: dict[str, str]) -> Tree:
    """Write a made-up package."""
    for name, source in files.items():
        path = root / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source))
    return read_tree(root)


def test_a_tree_that_keeps_the_rules_is_clean(tmp_path: Path) -> None:
    """The checks do not cry wolf: downwards, sideways, shells and entry points are fine."""
    tree = plant(
        tmp_path,
        {
            "errors.py": "import re\n",
            "config/model.py": "from ..errors import Fault\nfrom ..router import rule\n",
            "router/rule.py": "from a3s_gateway import errors\n",
            "service/health_service.py": "from twisted.internet.task import LoopingCall\n",
            "transport/tcp.py": "from twisted.internet import interfaces\n",
            "cli.py": "from twisted.internet import reactor\nfrom .config.model import Model\n",
        },
    )
    assert homeless_modules(tree) == []
    assert upward_imports(tree) == []
    assert import_cycle(tree) == []
    assert coloured_imports(tree) == []
    assert too_long(tree) == []


@pytest.mark.parametrize(
    "statement",
    [
        "from a3s_gateway.gateway import Gateway",
        "from a3s_gateway import gateway",
        "import a3s_gateway.gateway",
        "from ..gateway import Gateway",
        "from .. import gateway",
        "if TYPE_CHECKING:\n    from ..gateway import Gateway",
        "def late():\n    from ..gateway import Gateway",
    ],
)
def test_an_upward_import_is_found_in_every_spelling(tmp_path: Path, statement: str) -> None:
    """Neither a relative import, nor one for types, nor a late one gets past the layers."""
    tree = plant(tmp_path, {"gateway.py": "", "config/load.py": statement + "\n"})
    (found,) = upward_imports(tree)
    assert found.startswith("config/load.py:")
    assert found.endswith("(layer 1) imports gateway.py (layer 6)")


def test_a_package_is_as_high_as_its_layer(tmp_path: Path) -> None:
    """Importing a package by name counts as importing its `__init__`."""
    tree = plant(
        tmp_path,
        {
            "middleware/__init__.py": "",
            "service/backend.py": "from ..middleware import ALL",
        },
    )
    assert upward_imports(tree) == [
        "service/backend.py:1 (layer 2) imports middleware/__init__.py (layer 3)"
    ]


def test_a_shell_is_above_the_folder_it_lies_in(tmp_path: Path) -> None:
    """A decision may not import the Twisted service that carries it out."""
    tree = plant(
        tmp_path,
        {
            "service/health_service.py": "",
            "service/health.py": "from . import health_service",
        },
    )
    assert upward_imports(tree) == [
        "service/health.py:1 (layer 2) imports service/health_service.py (layer 5)"
    ]


def test_a_part_without_a_layer_is_found(tmp_path: Path) -> None:
    """A folder that nobody drew is not silently exempt."""
    assert homeless_modules(plant(tmp_path, {"utils/strings.py": ""})) == ["utils/strings.py"]


def test_a_cycle_within_a_layer_is_found(tmp_path: Path) -> None:
    """Three files of one folder that import each other in a ring are reported with their names."""
    tree = plant(
        tmp_path,
        {
            "hcl/parse.py": "from .evaluate import value",
            "hcl/evaluate.py": "from . import diagnostics",
            "hcl/diagnostics.py": "def late():\n    import a3s_gateway.hcl.parse",
        },
    )
    assert set(import_cycle(tree)) == {
        "a3s_gateway.hcl.parse",
        "a3s_gateway.hcl.evaluate",
        "a3s_gateway.hcl.diagnostics",
    }


def test_types_may_name_each_other(tmp_path: Path) -> None:
    """What only a type checker follows is no cycle; it still counts for the layers."""
    tree = plant(
        tmp_path,
        {
            "http.py": "if TYPE_CHECKING:\n    from .errors import Fault\n",
            "errors.py": "from .http import Response\n",
        },
    )
    assert import_cycle(tree) == []


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("middleware/retry.py", "from twisted.internet.defer import Deferred"),
        ("middleware/retry.py", "import twisted.internet.defer"),
        ("provider/discovery.py", "import treq"),
        ("middleware/redis.py", "from txredisapi import Connection"),
        ("entrypoint/http_service.py", "from twisted.internet import reactor"),
        ("transport/tcp.py", "import twisted.internet.reactor"),
        ("effects.py", "from twisted.internet.reactor import callLater"),
        ("scaling/scaling_service.py", "def late():\n    from twisted.internet import reactor"),
    ],
)
def test_twisted_out_of_place_is_found(tmp_path: Path, name: str, statement: str) -> None:
    """Pure code that reaches for Twisted, or a shell that reaches for the global reactor, fails."""
    assert len(coloured_imports(plant(tmp_path, {name: statement}))) == 1


def test_length_is_counted_to_the_line(tmp_path: Path) -> None:
    """The limits themselves are allowed, one line more is not."""
    body = "    pass\n"
    tree = plant(
        tmp_path,
        {
            "http.py": "def fits():\n" + body * (MAX_FUNCTION - 1),
            "errors.py": "class C:\n    async def grew(self):\n" + ("    " + body) * MAX_FUNCTION,
            "plugin.py": "#\n" * MAX_FILE,
            "effects.py": "#\n" * (MAX_FILE + 1),
        },
    )
    assert too_long(tree) == ["effects.py has 401 lines", "errors.py:2 grew has 51 lines"]


def test_an_init_file_in_twisteds_folder_is_found(tmp_path: Path) -> None:
    """The one file that would break every other Twisted program of the environment."""
    (tmp_path / "twisted" / "plugins").mkdir(parents=True)
    (tmp_path / "twisted" / "plugins" / "__init__.py").touch()
    assert intruders(tmp_path) == ["twisted/plugins/__init__.py"]
