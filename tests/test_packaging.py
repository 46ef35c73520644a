"""The wheel, installed where nothing else is, and every way to start what is in it."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path

import pytest

import a3s_gateway

ROOT = Path(__file__).parent.parent
SOURCES = ("a3s_gateway", "twisted", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
LIMIT = 300  # seconds; for one step that asks the package index
START_LIMIT = 30  # seconds

# One worker builds and installs once, for all of these.
pytestmark = pytest.mark.xdist_group("packaging")


def environment(**changes: str) -> dict[str, str]:
    """Make the environment of a command: what is imported is what is installed."""
    return {name: v for name, v in os.environ.items() if name != "PYTHONPATH"} | changes


def run(*command: str | Path) -> str:
    """Run a command to its end, away from the checkout; a failure shows its output."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd="/",
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy: nothing is left in the checkout, nothing of it but sources gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "dropin.cache")
            shutil.copytree(ROOT / name, folder / "source" / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, folder / "source" / name)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, folder / "source")
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install it with all it depends on into a new environment; returns its bin folder."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", wheel)
    return folder / "bin"


def test_the_wheel_holds_the_package_the_plugin_and_nothing_of_twisteds(wheel: Path) -> None:
    """Installing the gateway adds to Twisted's plugin folder and overwrites nothing there."""
    names = zipfile.ZipFile(wheel).namelist()
    sources = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "a3s_gateway").rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    ]
    assert "a3s_gateway/py.typed" in names
    assert [name for name in sources if name not in names] == []
    assert [n for n in names if n.startswith("twisted/")] == [
        "twisted/plugins/a3s_gateway_plugin.py"
    ]
    tops = {name.split("/")[0] for name in names}
    assert tops == {"a3s_gateway", "twisted", f"a3s_gateway-{a3s_gateway.__version__}.dist-info"}


def test_the_installed_environment_is_consistent(installed: Path) -> None:
    """What the gateway asks for can be had together, and Twisted still runs."""
    run(installed / "python", "-m", "pip", "check")
    assert "a3s-gateway" in run(installed / "twistd", "--help")


def test_the_version_is_the_same_everywhere(installed: Path) -> None:
    """The program, the module and the package's metadata agree."""
    assert a3s_gateway.__version__ in run(installed / "a3s-gateway", "--version")
    assert a3s_gateway.__version__ in run(installed / "python", "-m", "a3s_gateway", "--version")
    assert f"Version: {a3s_gateway.__version__}\n" in run(
        installed / "python", "-m", "pip", "show", "a3s-gateway"
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_quickstart(folder: Path) -> tuple[Path, int]:
    """Write the quickstart's configuration with a port that is free; returns it too."""
    text = (ROOT / "examples" / "quickstart.hcl").read_text()
    port = free_port()
    text, changed = re.subn(r'"[^"]*:8080"', f'"127.0.0.1:{port}"', text)
    assert changed == 1
    file = folder / "quickstart.hcl"
    file.write_text(f"{text}\nadmin {{\n  enabled = false\n}}\n")
    return file, port


def answer(port: int, process: subprocess.Popen[bytes]) -> int:
    """Return the status of the first answer."""
    deadline = time.monotonic() + START_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status
        except ConnectionRefusedError:
            time.sleep(0.02)
        finally:
            connection.close()
    raise AssertionError(f"no answer; exit status {process.poll()}")


def serve_once(command: list[str | Path], folder: Path, port: int, **env: str) -> None:
    """Start, ask, and stop by SIGTERM: an answer and exit status 0 are expected."""
    log = folder / "output.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            assert answer(port, process) == 200, log.read_text()
            process.send_signal(signal.SIGTERM)
            assert process.wait(START_LIMIT) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    "way", ["twistd -n a3s-gateway", "a3s-gateway", "a3s-gateway run", "python -m a3s_gateway"]
)
def test_the_installed_gateway_serves_the_quickstart(
    installed: Path, tmp_path: Path, way: str
) -> None:
    """After `pip install` of the wheel every way in answers, and SIGTERM ends it well."""
    config, port = write_quickstart(tmp_path)
    program, *arguments = way.split()
    serve_once([installed / program, *arguments, "--config", config], tmp_path, port)


def test_twistd_serves_from_a_checkout(tmp_path: Path) -> None:
    """Nothing needs to be installed but what the gateway depends on."""
    config, port = write_quickstart(tmp_path)
    twistd = Path(sysconfig.get_path("scripts")) / "twistd"
    command: list[str | Path] = [twistd, "-n", "a3s-gateway", "--config", config]
    serve_once(command, tmp_path, port, PYTHONPATH=str(ROOT))
