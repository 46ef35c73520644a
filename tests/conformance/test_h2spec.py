"""h2spec, the conformance suite for HTTP/2, against a gateway in a process of its own."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.certificates import issue, make_ca

H2SPEC = shutil.which("h2spec")
CONFIG = """
entrypoints "web" {{ address = "127.0.0.1:0"
  {tls} }}
routers "all" {{ rule = "PathPrefix(`/`)"
  service = "backend" }}
services "backend" {{ load_balancer {{ servers {{ url = "http://127.0.0.1:{backend}" }} }} }}
admin {{ enabled = false }}
access_log {{ enabled = false }}
"""


class Answer(BaseHTTPRequestHandler):
    """Answers when it has the whole request: an early answer would hide a fault in the rest."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.headers["Transfer-Encoding"] is not None:
            while (size := int(self.rfile.readline(), 16)) > 0:
                self.rfile.read(size + 2)
            while self.rfile.readline().strip():
                pass
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"hello")

    do_HEAD = do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def backend() -> Iterator[int]:
    """Run a backend; its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(params=["cleartext", "tls"])
def address(
    request: pytest.FixtureRequest, tmp_path: Path, backend: int
) -> Iterator[tuple[str, list[str]]]:
    """Run a gateway; the port it listens on, and what else h2spec has to know."""
    tls = ""
    if request.param == "tls":
        certificate, key = issue(make_ca(tmp_path), ["localhost"])
        tls = f'tls {{ cert_file = "{certificate}"\n key_file = "{key}" }}'
    config = tmp_path / "gateway.hcl"
    config.write_text(CONFIG.format(tls=tls, backend=backend))
    command = [sys.executable, "-m", "a3s_gateway", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as gateway:
        assert gateway.stdout is not None
        port = ""
        for line in gateway.stdout:
            found = re.search(rb"listens on 127\.0\.0\.1:(\d+)", line)
            if found is not None:
                port = found[1].decode()
                break
        try:
            yield port, ["-t", "-k"] if tls else []
        finally:
            gateway.send_signal(signal.SIGTERM)
            gateway.communicate(timeout=20)


@pytest.mark.skipif(H2SPEC is None, reason="h2spec is not installed")
def test_all_of_h2spec(address: tuple[str, list[str]]) -> None:
    """Every case passes, none is skipped."""
    port, more = address
    assert H2SPEC is not None
    command = [H2SPEC, "-h", "127.0.0.1", "-p", port, "-o", "2", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    counts = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", done.stdout)
    assert counts is not None, done.stdout + done.stderr
    total, passed, skipped, failed = map(int, counts.groups())
    assert (passed, skipped, failed) == (total, 0, 0), done.stdout[-6000:]
    assert total >= 145
