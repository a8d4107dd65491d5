"""One rewritten line that says how far a long step has come; only where somebody watches."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

_SECONDS_BETWEEN = 0.2


class Progress:
    """Called as progress(stage, done, total) by whatever takes long.

    Silent under -q, in a CI log, in an xdist worker, and where the output is no terminal, or one
    that cannot rewrite a line.

    Args:
        config: of the run.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._reporter: Any = config.pluginmanager.getplugin("terminalreporter")
        self._capture: Any = config.pluginmanager.getplugin("capturemanager")
        self._shown = 0
        self._next = 0.0
        self._watched = self._reporter is not None and _watched(config, self._reporter)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` parts of a stage are finished; the last clears the line."""
        if not self._watched:
            return
        if done >= total:
            self._clear()
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS_BETWEEN
            self._write(f"{stage} {done}/{total}")

    def _clear(self) -> None:
        if self._shown:
            self._write("")
            self._shown = 0
        self._next = 0.0

    def _write(self, line: str) -> None:
        # While a test runs, pytest has redirected the very stream that its reporter writes to.
        if self._capture is None:
            self._rewrite(line)
            return
        with self._capture.global_and_fixture_disabled():
            self._rewrite(line)

    def _rewrite(self, line: str) -> None:
        self._reporter.ensure_newline()
        width = max(20, self._config.get_terminal_writer().fullwidth - 1)
        text = line[:width]
        self._reporter.write(
            "\r" + text.ljust(min(self._shown, width)) + ("" if line else "\r"), flush=True
        )
        self._shown = len(text)


def _watched(config: pytest.Config, reporter: Any) -> bool:
    return (
        reporter.isatty
        and config.getoption("verbose") >= 0
        and not os.environ.get("CI")
        and os.environ.get("TERM") != "dumb"
        and not hasattr(config, "workerinput")
    )
