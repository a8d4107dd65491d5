"""The journal: one JSON line per event, on disk before the next test runs."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import IO, Any

NAME = "journal.jsonl"


class Journal:
    """An append-only file; what it holds survives `kill -9`.

    Args:
        directory: of the reports; made if missing.

    Raises:
        OSError: the directory cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / NAME
        if self.path.exists():
            set_aside(self.path)
        self._file: IO[str] = self.path.open("x", encoding="utf-8", errors="backslashreplace")

    def append(self, event: str, **content: object) -> None:
        """Write one line and wait until it is on disk.

        Raises:
            OSError: it cannot be written; `read_journal` leaves out what is there of it.
        """
        line = json.dumps({"event": event, **content}, allow_nan=False, ensure_ascii=False)
        self._file.write(line + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; nothing is lost without it."""
        with contextlib.suppress(OSError):  # of a full disk, which was told when it was written to
            self._file.close()


def set_aside(path: Path) -> Path:
    """Give the journal of an earlier run another name: it may be all that is left of that run.

    Args:
        path: of the journal.

    Returns:
        Where it is now.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(path.stat().st_mtime))
    names = (
        f"{path.stem}-{stamp}{suffix}.jsonl" for suffix in ("", *map("-{}".format, range(2, 999)))
    )
    free = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    os.replace(path, free)
    return free


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the events of a journal; a last line that was cut off by a kill is left out."""
    events = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return events
