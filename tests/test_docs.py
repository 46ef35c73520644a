"""README and docs tell the truth: their configurations are read, their commands are run."""

from __future__ import annotations

import ast
import http.client
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from attrs import frozen

from a3s_gateway.body import NO_BODY
from a3s_gateway.cli import main
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.schema import schema
from a3s_gateway.faults import FAULTS
from a3s_gateway.headers import EMPTY_HEADERS
from a3s_gateway.http import Exchange, Request
from a3s_gateway.plugin import plugins
from a3s_gateway.protocol.target import canonical_path, host_of
from a3s_gateway.router.matchers import compile_predicate
from a3s_gateway.router.rule import parse
from a3s_gateway.router.signatures import SIGNATURES
from a3s_gateway.runtime.unavailable import unavailable
from a3s_gateway.tap import Options
from tests.test_architecture import LAYERS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "a3s_gateway"
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PATIENCE = 60  # seconds for a program to do what it should
PAGES = sorted(
    [*ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md", *DOCS.rglob("*.md")],
    key=lambda page: (page.parent != ROOT, page),
)
# Of the reference only the smallest configuration is whole; its other blocks have their own tests.
WHOLE_BLOCKS_ONLY = [page for page in PAGES if page.name != "config-reference.md"]
ABOUT_THE_CODE = [
    DOCS / "architecture.md",
    DOCS / "life-of-a-request.md",
    *sorted(DOCS.glob("adr/*.md")),
]


@frozen
class Block:
    """A fenced block; `mark` is the comment on the line before it."""

    page: Path
    line: int
    language: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    start: int | None = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
            continue
        before = lines[start - 1] if start else ""
        mark = before[4:-3].strip() if before.startswith("<!--") else ""
        text = "\n".join(lines[start + 1 : number]) + "\n"
        yield Block(page, start + 1, lines[start][3:].strip(), text, mark)
        start = None
    assert start is None, f"{page}: a block is never closed"


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
WRITTEN = {page: page.read_text(encoding="utf-8") for page in PAGES}
PROSE = {
    page: re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    for page, text in WRITTEN.items()
}


def of(*languages: str, mark: str = "") -> list[Block]:
    return [b for b in BLOCKS if b.language in languages and b.mark.startswith(mark)]


def spans(page: Path) -> list[str]:
    """Return what stands between backticks in the text of a page."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", PROSE[page])


def between(page: Path, name: str) -> str:
    text = WRITTEN[page]
    return text[text.index(f"<!-- {name} -->") : text.index(f"<!-- end of {name} -->")]


def rows(text: str) -> list[list[str]]:
    """Return the cells of the tables in a text, without heads; a pipe in backticks is no border."""
    found = []
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith(("|---", "| ---")):
            whole = re.sub(r"``.*?``", lambda code: code[0].replace("|", "\0"), line)
            found.append([cell.strip().replace("\0", "|") for cell in whole[1:-1].split("|")])
    return found


def write_files(page: Path, folder: Path) -> None:
    """Write what a page shows as a file of the user's."""
    for block in of("python", mark="file:"):
        if block.page == page:
            file = folder / block.mark.removeprefix("file:").strip()
            file.write_text(block.text, encoding="utf-8")


# -- configuration


@pytest.mark.parametrize("block", [b for b in of("hcl") if b.page in WHOLE_BLOCKS_ONLY], ids=str)
def test_a_configuration_can_be_copied_and_run(block: Block, tmp_path: Path) -> None:
    """What is shown is valid, and nothing in it has to wait for a later version."""
    for name in re.findall(r'"([\w./-]+\.pem)"', block.text):
        assert not name.startswith("/")
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    write_files(block.page, tmp_path)
    config = GatewayConfig.from_text(block.text, str(tmp_path / "gateway.hcl"), {})
    assert config.warnings == ()
    assert unavailable(config) == ()


def test_the_overview_has_every_block_of_the_language() -> None:
    """Whoever reads the README has heard of all of them."""
    overview = WRITTEN[README].split("## Configuration")[1].split("\n## ")[0]
    for name in schema(GatewayConfig):
        assert f"`{name}" in overview


def test_the_readme_tells_what_is_not_available() -> None:
    """The two examples that have everything are refused for what its table names, and no more."""
    column = {}
    table = WRITTEN[README].split("## What works today")[1].split("\n## ")[0]
    for _, works, missing in rows(table)[1:]:
        column["works"] = column.get("works", "") + works + "\n"
        column["missing"] = column.get("missing", "") + missing.lower().replace("`", "") + "\n"
    for name, plugin in plugins("middleware").items():
        there, absent = re.search(rf"`{name}`", column["works"]), f"{name}" in column["missing"]
        assert bool(there) == (plugin.build is not None), name
        assert absent == (plugin.build is None), name
    for name in ("full", "middlewares"):
        for fault in unavailable(example(name)):
            what = re.sub(r"(middlewares of type|servers by) ", "", fault.message)
            what = what.removeprefix("not yet available: ").replace('"', "").lower()
            assert what in column["missing"]


def example(name: str) -> GatewayConfig:
    text = (ROOT / "examples" / f"{name}.hcl").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^ *(cert|key)_file.*$", rf'\1_file = "{README}"', text)
    return GatewayConfig.from_text(text, environ={"JWT_SECRET": "x" * 32})


# -- rules


def code(cell: str) -> str:
    return cell.strip("`").strip()


RULES = WRITTEN[DOCS / "rules.md"]
EXAMPLES = [row for row in rows(RULES) if row[-1] in ("yes", "no")]
MATCHERS = [code(row[0]) for row in rows(RULES) if re.match(r"``[A-Z]\w+\(", row[0])]


@pytest.mark.parametrize(("rule", "request_line", "answer"), EXAMPLES)
def test_an_example_of_a_rule_is_right(rule: str, request_line: str, answer: str) -> None:
    """The table says what the matcher does."""
    method, _, url = code(request_line).partition(" ")
    parts = urlsplit(url)
    request = Request(
        method, canonical_path(parts.path.encode()), parts.query or None, host_of(parts.netloc),
        parts.netloc, 11, "http", EMPTY_HEADERS, NO_BODY, "192.0.2.7",
        Exchange("web", "192.0.2.7", 0.0),
    )  # fmt: skip
    assert compile_predicate(parse(code(rule)))(request) == (answer == "yes")


def test_there_are_examples_of_both_kinds() -> None:
    assert {row[-1] for row in EXAMPLES} == {"yes", "no"}


def test_every_matcher_is_explained() -> None:
    """The table has them all, in a form that parses."""
    found = set()
    for rule in MATCHERS:
        written = rule.replace(", ...", "").replace("`expr`", "`^a$`")
        found.add(parse(written).name)  # type: ignore[union-attr]
    assert found == set(SIGNATURES["http"])
    for name in SIGNATURES["tcp"]:
        assert f"{name}(" in RULES.split("## Rules for TCP")[1]


# -- commands


def commands(block: Block) -> list[str]:
    lines = block.text.splitlines()
    if block.language == "bash":
        return [line for line in lines if line and not line.startswith("#")]
    return [line[2:] for line in lines if line.startswith("$ ")]


COMMANDS = [(block, line) for block in of("console", "bash") for line in commands(block)]


@pytest.mark.parametrize(("block", "line"), COMMANDS, ids=str)
def test_a_command_can_be_typed(
    block: Block, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program is there, and has the targets, files and options that the page gives it."""
    words = shlex.split(line.partition("  #")[0])
    program, *arguments = [word for word in words if not re.match(r"[A-Z_]+=", word)] or words
    name = Path(program).name
    if name == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for argument in arguments:
            assert re.search(rf"(?m)^{argument}:", makefile), line
    elif name == "a3s-gateway" or arguments[:2] == ["-m", "a3s_gateway"]:
        options = [word for word in arguments if word.startswith("--")]
        assert set(options) <= flags(capsys), line
    elif name == "twistd":
        assert arguments[:2] == ["-n", "a3s-gateway"]
        assert {word[2:] for word in arguments[2::2]} <= {o[0] for o in Options.optParameters}
    elif name == "python":
        script = (ROOT / arguments[0]).read_text(encoding="utf-8")
        assert all(f'"{word}"' in script for word in arguments if word.startswith("--")), line
    else:
        assert name == "curl", f"{block}: {name} is not known to this test"


def flags(capsys: pytest.CaptureFixture[str]) -> set[str]:
    with pytest.raises(SystemExit):
        main(["--help"])
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", capsys.readouterr().out))


def test_every_option_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """The README's table has the options that the program has."""
    table = WRITTEN[README].split("| option |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(--?[a-z-]+)", table)) == flags(capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `gateway.hcl` as in the README, and `a3s-gateway` in its `bin`."""
    (quick_start,) = (b for b in of("hcl") if b.text.startswith("# gateway.hcl"))
    (tmp_path / "gateway.hcl").write_text(quick_start.text, encoding="utf-8")
    program = tmp_path / "bin" / "a3s-gateway"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m a3s_gateway "$@"\n')
    program.chmod(0o755)
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("block", of("console", mark="run:"), ids=str)
def test_a_command_says_what_the_page_shows(block: Block, folder: Path) -> None:
    """To the character, after what the comment before the block prepares."""
    preparation = block.mark.removeprefix("run:")
    (command,) = commands(block)
    done = subprocess.run(
        ["/bin/sh", "-c", f"{preparation}\n{command}"],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert f"$ {command}\n{done.stdout}" == block.text


@contextmanager
def running(folder: Path, *command: str, stream: str, port: str) -> Generator[int]:
    """Run a program that says where it listens; SIGTERM has to end it with status 0."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    too_late = threading.Timer(PATIENCE, process.kill)
    too_late.start()
    try:
        yield port_of(process, stream, port)
        process.send_signal(signal.SIGTERM)
    except BaseException:
        process.kill()
        raise
    finally:
        _, complaints = process.communicate()
        too_late.cancel()
    assert process.returncode == 0, complaints


def port_of(process: subprocess.Popen[str], stream: str, pattern: str) -> int:
    """Read what a program says until it tells its port."""
    said = []
    for line in getattr(process, stream):
        if found := re.search(pattern, line):
            return int(found[1])
        said.append(line)
    raise AssertionError(f"it does not listen: {''.join(said)}")


@contextmanager
def serving(folder: Path, config: str) -> Generator[int]:
    """Serve a text of the docs on a free port of loopback; gives the port."""
    text, changed = re.subn(r'"0\.0\.0\.0:8080"', '"127.0.0.1:0"', config)
    assert changed == 1
    text += "" if "admin {" in text else "admin {\n  enabled = false\n}\n"
    (folder / "served.hcl").write_text(text, encoding="utf-8")
    program = ("a3s-gateway", "--config", "served.hcl")
    with running(folder, *program, stream="stderr", port=r"listens on 127\.0\.0\.1:(\d+)\n") as at:
        yield at


def ask(port: int, path: str, host: str = "localhost") -> tuple[int, str]:
    """Ask as curl would."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", f"{host}:{port}")
        connection.putheader("User-Agent", "curl/7.88.1")
        connection.putheader("Accept", "*/*")
        connection.endheaders()
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def without_particulars(text: str, port: int) -> str:
    """Blank out what differs from run to run: ids, the port, the machine's name."""
    text = re.sub(r"[0-9a-f]{32}", "ID", text).replace(str(port), "PORT").strip()
    return re.sub(r"(?m)^Hostname: .*$", "Hostname: NAME", text)


@pytest.mark.parametrize("block", of("console", mark="ask:"), ids=str)
def test_an_answer_is_what_the_page_shows(block: Block, folder: Path) -> None:
    """Apart from ids and names, the gateway answers as the page says."""
    name = block.mark.removeprefix("ask:").strip()
    config = folder / name if (folder / name).exists() else ROOT / name
    (command,) = commands(block)
    found = re.fullmatch(r"curl localhost:8080(/\S*)", command)
    assert found is not None
    with serving(folder, config.read_text(encoding="utf-8")) as port:
        _, body = ask(port, found[1])
    shown = block.text.removeprefix(f"$ {command}\n")
    assert without_particulars(body, port) == without_particulars(shown, 8080)


class Hello(BaseHTTPRequestHandler):
    """Says what it was asked for."""

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def backend() -> Generator[int]:
    with HTTPServer(("127.0.0.1", 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_the_quick_start_proxies(folder: Path) -> None:
    """What `/api` matches arrives at the backend with its path; the rest is refused."""
    with backend() as behind:
        config = (folder / "gateway.hcl").read_text(encoding="utf-8")
        assert '"http://127.0.0.1:8001"' in config
        config = config.replace("127.0.0.1:8001", f"127.0.0.1:{behind}")
        with serving(folder, config) as port:
            assert ask(port, "/api/users?page=2") == (200, "/api/users?page=2")
            status, body = ask(port, "/other")
    assert (status, json.loads(body)["code"]) == (404, "NO_ROUTE")


def test_the_program_of_the_readme_runs(folder: Path) -> None:
    """Word for word, with a line more that tells its port; SIGTERM drains and ends it."""
    (block,) = (b for b in of("python") if b.page == README)
    wait = "    await gateway.wait_for_shutdown()\n"
    assert wait in block.text
    tell = "    print(gateway.addresses()['web'].port, flush=True)\n"
    (folder / "program.py").write_text(block.text.replace(wait, tell + wait), encoding="utf-8")
    text = (folder / "gateway.hcl").read_text(encoding="utf-8")
    text = text.replace("0.0.0.0:8080", "127.0.0.1:0")
    text += "admin {\n  enabled = false\n}\n"
    (folder / "gateway.hcl").write_text(text, encoding="utf-8")
    with running(folder, sys.executable, "program.py", stream="stdout", port=r"^(\d+)\n") as port:
        status, _ = ask(port, "/")
    assert status == 404


def test_the_middleware_that_the_page_shows_works(folder: Path) -> None:
    """Its tests pass, and the gateway that is configured with it serves the tenant."""
    page = DOCS / "writing-a-middleware.md"
    write_files(page, folder)
    (block,) = (b for b in of("hcl") if b.page == page)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(folder)))}
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_tenant.py"]
    tests = subprocess.run(
        run, cwd=folder, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert "2 passed" in tests.stdout, tests.stdout + tests.stderr
    with serving(folder, block.text) as port:
        assert ask(port, "/orders", "acme.localhost")[1].count("GET /acme/orders HTTP/1.1") == 1
        assert ask(port, "/orders", "other.localhost")[0] == 404


# -- what is named exists


def anchors(page: Path) -> set[str]:
    found = re.findall(r"(?m)^#+ (.+)$", PROSE[page])
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found]
    return set(plain)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link has its file, every anchor its heading."""
    for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", PROSE[page]):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), target


FILES = [
    str(path.relative_to(ROOT))
    for top in (
        "a3s_gateway",
        "tests",
        "docs",
        "examples",
        "benchmarks",
        "twisted",
        "newsfragments",
    )
    for path in (ROOT / top).rglob("*")
]
OF_THE_USER = {"gateway.hcl", "typo.hcl", "tenant.py"}


def is_there(name: str, page: Path) -> bool:
    if (ROOT / name).exists() or (page.parent / name).exists() or (PACKAGE / name).exists():
        return True
    return any(file.endswith("/" + name.rstrip("/")) for file in FILES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_exists(page: Path) -> None:
    """Files and folders of the project, by path or by name, as they are written in backticks."""
    pattern = re.compile(r"\.?[\w./-]+(?:\.(?:py|hcl|md|toml|cfg|lua)|/)")
    named = [span for span in spans(page) if pattern.fullmatch(span) and span[0] != "/"]
    if page.name == "config-reference.md":
        named = [name for name in named if not name.endswith(".hcl")]
    missing = [n for n in named if n not in OF_THE_USER and n[0] != "." and not is_there(n, page)]
    assert missing == []


@frozen
class Names:
    """What the package defines: members by class, and everything else by name."""

    members: dict[str, set[str]]
    bases: dict[str, list[str]]
    others: set[str]

    def has(self, owner: str, member: str) -> bool:
        if member in self.members.get(owner, ()):
            return True
        return any(self.has(base, member) for base in self.bases.get(owner, ()))


def names_of_the_package() -> Names:
    names = Names({}, {}, set())
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                names.bases[node.name] = [ast.unparse(base) for base in node.bases]
                names.members.setdefault(node.name, set()).update(members_of(node))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names.others.add(node.name)
            elif isinstance(node, ast.Name | ast.Attribute):
                names.others.add(node.id if isinstance(node, ast.Name) else node.attr)
            elif isinstance(node, ast.arg):
                names.others.add(node.arg)
    return names


def members_of(node: ast.ClassDef) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            yield inner.name
        elif isinstance(inner, ast.Attribute):
            yield inner.attr
        elif isinstance(inner, ast.Name):
            yield inner.id


NAMES = names_of_the_package()
OF_OTHERS = {  # classes that the pages may name without their being used by name in the package
    "Authorization", "Connection", "Cookie", "GeneratorExit", "Site", "_ms", "_secs",
}  # fmt: skip


def is_known(span: str) -> bool:
    """Whether a piece of code in a page's text is no name of ours, or one that there is."""
    dotted = re.fullmatch(r"([A-Z]\w+)\.(\w+)(?:\(.*\))?", span)
    if dotted is not None:
        owner, member = dotted.groups()
        if owner in NAMES.members:
            return NAMES.has(owner, member)
        return {owner, member} <= NAMES.others
    if re.fullmatch(r"[A-Z]\w*[a-z]\w*|_[a-z]\w+|[A-Z]+(?:_[A-Z]+)+", span):
        return span in NAMES.members.keys() | NAMES.others | FAULTS.keys() | OF_OTHERS
    return True


@pytest.mark.parametrize("page", ABOUT_THE_CODE, ids=lambda page: page.name)
def test_every_name_of_the_code_exists(page: Path) -> None:
    """A page about the code names classes, methods and functions as they are called today."""
    assert [span for span in spans(page) if not is_known(span)] == []


def test_a_name_that_is_gone_is_noticed() -> None:
    assert is_known("Poller.doRead")
    assert is_known("HttpConnection.abort")  # inherited
    assert not any(map(is_known, ["Poller.doWrite", "_no_such_step", "NoSuchClass", "NO_SUCH"]))


def test_the_layers_are_those_that_are_checked() -> None:
    """The picture and the test that guards it say the same."""
    drawn = {
        int(row[0]): set(re.findall(r"`(\w+)`", row[1]))
        for row in rows(between(DOCS / "architecture.md", "layers"))
        if row[0].isdigit()
    }
    assert drawn == dict(enumerate(LAYERS))


def test_every_module_is_in_the_layout() -> None:
    """One line says what it is for; middlewares have one for all."""
    drawn = set(drawn_modules(between(DOCS / "architecture.md", "layout")))
    modules = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if path.parent.name != "middleware"
    }
    modules = {name for name in modules if not name.endswith("/__init__.py")}
    assert drawn == modules


def drawn_modules(layout: str) -> Iterator[str]:
    folder = ""
    for line in layout.splitlines():
        if entry := re.match(r"  (\w+)(/| |\.py)", line):
            folder = entry[1] + "/" if entry[2] == "/" else ""
        elif not line.startswith("  "):
            continue
        below = ""
        for name in re.findall(r"[\w/]+\.py", line):
            below = name.rpartition("/")[0] + "/" if "/" in name else below
            yield folder + (name if "/" in name else below + name)


def test_the_index_has_every_decision() -> None:
    """Numbered without a gap, and called what they call themselves."""
    files = sorted(DOCS.glob("adr/*.md"))
    assert [int(file.name[:4]) for file in files] == list(range(1, len(files) + 1))
    listed = re.findall(
        r"(?m)^\| \[(\d+)\]\((adr/[^)]+)\) \| (.+) \|$", between(DOCS / "README.md", "adrs")
    )
    written = [
        (str(int(file.name[:4])), f"adr/{file.name}", WRITTEN[file].split("\n")[0])
        for file in files
    ]
    assert [(n, path, f"# {n}. {title}") for n, path, title in listed] == written
    for file in files:
        assert re.findall(r"(?m)^## (.+)$", WRITTEN[file]) == [
            "Context", "Decision", "Consequences",
        ]  # fmt: skip


KINDS = re.findall(r'(?m)^directory = "(\w+)"$', (ROOT / "pyproject.toml").read_text())[1:]
NEWS = sorted((ROOT / "newsfragments").glob("[!.]*"))


@pytest.mark.parametrize("file", NEWS, ids=lambda file: file.name)
def test_a_piece_of_news_is_one_paragraph_of_a_known_kind(file: Path) -> None:
    """What is named otherwise would be missing in the changelog of the release."""
    assert "feature" in KINDS
    assert re.fullmatch(rf"\+[a-z0-9-]+\.({'|'.join(KINDS)})\.md", file.name)
    text = file.read_text(encoding="utf-8")
    assert re.fullmatch(r"[A-Z][^\n]+[.!]\n", text)
