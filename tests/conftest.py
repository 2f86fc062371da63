"""One thread, fresh seeds, and no skip that nobody vouched for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

ALLOWED = Path(__file__).with_name("allowed_skips.txt")


def allowed_skips() -> list[str]:
    """Test ids (or their beginnings) that may be skipped."""
    lines = (line.strip() for line in ALLOWED.read_text().splitlines())
    return [line.split("|")[0].strip() for line in lines if line and not line.startswith("#")]


class SkipGuard:
    """Fails a run in which a test is skipped that `allowed_skips.txt` does not list."""

    def __init__(self) -> None:
        self.allowed = tuple(allowed_skips())
        self.unlisted: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a skip; expected failures are no skips."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that skips itself counts too."""
        if report.skipped:
            self._note(report.nodeid)

    def _note(self, nodeid: str) -> None:
        if not any(nodeid.startswith(allowed) for allowed in self.allowed):
            self.unlisted.append(nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn unlisted skips into a failed run."""
        if self.unlisted:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which."""
        for nodeid in self.unlisted:
            terminalreporter.write_line(
                f"FAILED: {nodeid} was skipped and is not in {ALLOWED.name}", red=True
            )


def pytest_configure(config: pytest.Config) -> None:
    """Watch from the process that sees every report: the controller of a parallel run."""
    torch.set_num_threads(1)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkipGuard(), "skip-guard")
