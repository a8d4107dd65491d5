"""`python -m tests.launch.here ARGUMENTS`: a launch whose engine is this process.

A file `lose-SAE` loses the node of that SAE's first attempt when three of its tests have ended.
"""

from __future__ import annotations

import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import pytest_sae.launch.launching as launching
from pytest_sae.cli import main
from pytest_sae.launch.node import Mirror, evaluate, keep
from pytest_sae.launch.task import Ended, Order, Task
from pytest_sae.run.journal import read_journal


class Here:
    def __init__(self, *_: object) -> None:
        self._waiting: deque[tuple[Task, Order]] = deque()

    def places(self, cache: str) -> list[str]:
        return [""]

    def submit(self, orders: Sequence[tuple[Task, Order]]) -> None:
        self._waiting.extend(orders)

    def ended(self) -> list[Ended]:
        task, order = self._waiting.popleft()
        with tempfile.TemporaryDirectory() as name:
            mirror, running = Mirror(Path(name), order.log), evaluate(order, Path(name))
            for status in running:
                for part in mirror.news():
                    keep(task.home, part)
                if status is not None:
                    return [Ended(task, status)]
                if lost(task):
                    running.close()
                    break
        return [Ended(task, None, "its node was lost")]

    def close(self) -> None:
        self._waiting.clear()


def lost(task: Task) -> bool:
    always, once = Path(f"lose-always-{task.name}"), Path(f"lose-{task.name}")
    journal = task.home / "journal.jsonl"
    events = read_journal(journal) if journal.exists() else []
    if sum(each["event"] == "test" for each in events) < 3 or not (
        once.exists() or always.exists()
    ):
        return False
    once.unlink(missing_ok=True)
    Path(f"wait-{task.name}").unlink(missing_ok=True)
    return True


if __name__ == "__main__":
    launching._engine = Here  # type: ignore[assignment]
    sys.exit(main(["launch", *sys.argv[1:]]))
