"""Entries of the cache that are being made: named after who makes them, so that nobody sweeps them.

beginning(name) -> how the directory of an entry that this process makes begins
abandoned(directory, locked) -> bool
"""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path

MARK = ".unfinished-"
DAY = 24 * 3600.0


def beginning(name: str) -> str:
    """Return how the name of a directory begins in which this process makes an entry.

    Args:
        name: of the entry.
    """
    return f"{name}{MARK}{_host()}-{os.getpid()}-"


def entry_of(directory: Path) -> str:
    """Return the name of the entry that was to be made in a directory.

    Args:
        directory: whose name has the mark in it.
    """
    return directory.name.split(MARK)[0]


def abandoned(directory: Path, locked: bool) -> bool:
    """Return whether nobody will finish an entry.

    A lock tells for sure on one machine. Of another machine, whose locks may not reach here, it is
    believed when nothing has changed for a day.

    Args:
        directory: in which it is made.
        locked: whether the entry's lock was given to us: False where there are no locks.
    """
    host, _, process = directory.name.split(MARK)[1].rpartition("-")[0].rpartition("-")
    here = host == _host()
    if here and process.isdigit() and _runs(int(process)):
        return False
    return (here and locked) or time.time() - _changed(directory) > DAY


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]", ".", socket.gethostname()) or "unknown"


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return process != os.getpid()


def _changed(directory: Path) -> float:
    times = []
    for path in (directory, *directory.iterdir()):
        try:
            times.append(path.stat().st_mtime)
        except FileNotFoundError:  # renamed in the meantime
            times.append(time.time())
    return max(times)
