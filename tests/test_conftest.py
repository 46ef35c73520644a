"""What the test run's own options promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SKIPS = {
    "a test": "import pytest\ndef test_x(): pytest.skip('no nginx')\n",
    "a fixture": (
        "import pytest\n@pytest.fixture\ndef nginx(): pytest.skip('no nginx')\n"
        "def test_x(nginx): pass\n"
    ),
    "a file": "import pytest\npytest.skip('no nginx', allow_module_level=True)\n",
    "a trial case": (
        "from twisted.trial.unittest import TestCase\n"
        "class T(TestCase):\n    def test_x(self): pass\n    test_x.skip = 'no nginx'\n"
    ),
}


def run_pytest(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"),
            *("--rootdir", str(file.parent), *options, str(file)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("kind", SKIPS)
def test_a_forbidden_skip_fails_the_run(tmp_path: Path, kind: str) -> None:
    """Where everything should be installed, a test that did not run is a fault, with its reason."""
    file = tmp_path / "test_skips.py"
    file.write_text(SKIPS[kind])
    run = run_pytest(file, "--forbid-skips")
    assert run.returncode != 0, run.stdout
    assert "no nginx" in run.stdout


def test_what_a_trial_case_writes_goes_away(tmp_path: Path) -> None:
    """A test that asks trial for a file name leaves nothing in the checkout."""
    file = tmp_path / "test_writes.py"
    file.write_text(
        "from pathlib import Path\nfrom twisted.trial.unittest import TestCase\n"
        "class T(TestCase):\n    def test_x(self): Path(self.mktemp()).write_text('')\n"
    )
    before = set(ROOT.iterdir())
    run = run_pytest(file, "--basetemp", str(tmp_path / "temp"))
    assert run.returncode == 0, run.stdout
    assert [*tmp_path.glob("temp/trial*/temp")] != []
    assert [path.name for path in set(ROOT.iterdir()) - before if "writes" in path.name] == []


def test_elsewhere_a_skip_is_a_skip(tmp_path: Path) -> None:
    """A developer without nginx sees what was skipped, not a failure; xfail is no skip."""
    file = tmp_path / "test_skips.py"
    file.write_text(SKIPS["a test"])
    assert "1 skipped" in run_pytest(file).stdout
    file.write_text("import pytest\n@pytest.mark.xfail\ndef test_x(): assert False\n")
    run = run_pytest(file, "--forbid-skips")
    assert (run.returncode, "1 xfailed" in run.stdout) == (0, True)
