"""What a launch says while it runs: lines of each task, with its SAE's name in front."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pytest_sae.launch.node import LOGS
from pytest_sae.launch.task import Task

# pytest's line for a file of tests, and what this package says about a run.
_PROGRESS = re.compile(r".*\[ *\d+%\]|pytest-sae: .*")


class Screen:
    """Lines on standard output.

    Args:
        width: of the names.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._read: dict[Path, int] = {}

    def say(self, name: str, text: str) -> None:
        """Write one line about a task."""
        sys.stdout.write(f"{name:<{self._width}}  {text}\n")
        sys.stdout.flush()

    def follow(self, task: Task) -> None:
        """Write the progress that has come to a task's logs since the last call."""
        for log in sorted(task.home.glob(LOGS)):
            with log.open("rb") as file:
                file.seek(self._read.get(log, 0))
                whole, newline, _ = file.read().rpartition(b"\n")
            self._read[log] = self._read.get(log, 0) + len(whole) + len(newline)
            for line in whole.decode(errors="replace").splitlines():
                if _PROGRESS.fullmatch(line.rstrip()):
                    self.say(task.name, line.strip())
