"""What every test run shares."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from hypothesis import settings
from twisted.trial.unittest import SynchronousTestCase

# A deadline per example measures how busy the machine is.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--forbid-skips",
        action="store_true",
        help="a skipped test fails: for machines that have everything installed",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--forbid-skips"):
        config.pluginmanager.register(ForbidSkips(), "forbid-skips")


@pytest.fixture(autouse=True)
def _trial_files_are_temporary(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`self.mktemp()` of a trial case is a path in pytest's folder, not in the checkout."""
    if request.cls is not None and issubclass(request.cls, SynchronousTestCase):
        monkeypatch.setattr(
            request.cls, "mktemp", lambda _: str(tmp_path_factory.mktemp("trial") / "temp")
        )


class ForbidSkips:
    """Turns a skip, of one test or of a whole file, into a failure that says why."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self,
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.skipped and not hasattr(report, "wasxfail"):
            report.outcome = "failed"
            report.longrepr = f"skipped, which --forbid-skips forbids: {report.longrepr}"
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self,
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        if report.skipped:
            report.outcome = "failed"
            report.longrepr = f"skipped, which --forbid-skips forbids: {report.longrepr}"
        return report
