"""Failures of the gate, told once: pytest's own sections repeat them only where -v asks for it."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pytest_sae.run.attaching import received

_SECTIONS = ("failed", "error")
_DEFAULT = "fE"  # what pytest's short summary shows where nobody says -r


class ToldOnce:
    """Hooks of the process that writes to the terminal.

    Args:
        config: of the run.
    """

    def __init__(self, config: pytest.Config) -> None:
        chosen = config.getoption("reportchars", _DEFAULT) != _DEFAULT
        self._asked = chosen or config.getoption("verbose", 0) > 0
        self._told: set[pytest.TestReport] = set()
        self._errors: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what the final table tells: a verdict, or an error that another test has shown."""
        if report.failed and not self._asked and self._is_told(report):
            self._told.add(report)

    def _is_told(self, report: pytest.TestReport) -> bool:
        rows, said = received(report), str(report.longrepr)
        if any(said.startswith(row.headline) for row in rows):
            return True
        # A family that could not be measured fails the tests of all its metrics alike.
        known = bool(rows) and said in self._errors
        self._errors.add(said)
        return known

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> Generator[None, None, None]:
        """Keep them from pytest's sections; its counts are written later, and have them all."""
        stats = terminalreporter.stats
        whole = {name: stats[name] for name in _SECTIONS if name in stats}
        for name, reports in whole.items():
            stats[name] = [each for each in reports if each not in self._told]
        try:
            return (yield)
        finally:
            stats.update(whole)
