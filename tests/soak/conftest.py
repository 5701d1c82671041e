"""The soak's figures, at the end of the run."""

from __future__ import annotations

import pathlib

import pytest

from . import figures
from .load import LONG, SLACK

HERE = pathlib.Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # A soak bounds every wait by itself and says more when one is too long; this is for the rest.
    seconds = config.getoption("--soak-seconds") + 2 * LONG + 6 * SLACK
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.timeout(seconds))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = figures.lines()
    if lines:
        terminalreporter.section("soak")
        for line in lines:
            terminalreporter.write_line(line)
