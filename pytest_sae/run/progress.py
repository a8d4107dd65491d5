"""What a process is at: the stage that it told last, also to a process that only hears of it."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

#: Under which the controller tells a worker the file that it notes its stage in.
NOTE = "sae_note"
#: Under which the plugin that shows progress is registered.
WATCHING = "sae-watching"
_SECONDS_BETWEEN = 1.0


@dataclass(frozen=True)
class Stage:
    """How far something has come that takes long.

    Args:
        test: id of the test that waits for it.
        name: what is done, such as "encoding".
        done: parts that are finished.
        total: parts that there are.
    """

    test: str
    name: str
    done: int
    total: int

    def __str__(self) -> str:
        return f"{self.name} {self.done}/{self.total}"


class Progress:
    """Called as progress(stage, done, total) by whatever takes long; keeps what came last.

    Args:
        note: file that a worker writes it to, None to keep it in this process.
    """

    def __init__(self, note: Path | None = None) -> None:
        self._note = note
        self._next = 0.0
        self.stage: Stage | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Say that `done` of `total` parts of a stage are finished; the last ends it."""
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        self.stage = Stage(test, stage, done, total) if done < total else None
        if self._note is not None and (self.stage is None or time.monotonic() >= self._next):
            self._next = time.monotonic() + _SECONDS_BETWEEN
            # A disk that is full, or a controller on another machine, is no reason to stop.
            with suppress(OSError):
                _replace(self._note, json.dumps(self.stage and asdict(self.stage)))


def progress_of(config: pytest.Config) -> Progress:
    """Return what this process says its stages to: who watches here, or a worker's note."""
    watching = config.pluginmanager.get_plugin(WATCHING)
    if watching is not None:
        progress: Progress = watching.progress
        return progress
    note = getattr(config, "workerinput", {}).get(NOTE)
    return Progress(Path(note) if note else None)


def noted(note: Path) -> Stage | None:
    """Return the stage that a worker noted, None where it is at none."""
    try:
        told = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Stage(**told) if told else None


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
