"""What a cache directory holds, and how it is kept small.

entries(directory) -> list[Entry], least recently used first
prune(directory, limit, since) -> list[Entry] that were removed
damaged(directory) -> list[(Entry, what is wrong)]
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from pytest_sae.activations.store import INDEX, Store, verify
from pytest_sae.activations.unfinished import MARK


@dataclass(frozen=True)
class Entry:
    """Something that is kept.

    Args:
        path: its directory.
        step: what made it, such as `activations`; `unfinished` while it is made, and after its
            maker was killed.
        bytes: on disk.
        used: when it was last used, seconds since 1970.
    """

    path: Path
    step: str
    bytes: int
    used: float


def entries(directory: Path) -> list[Entry]:
    """Return all that a cache directory holds, least recently used first.

    Args:
        directory: of the cache; empty if it is not there.
    """
    found = [each for path in _directories(directory) if (each := _entry(path)) is not None]
    return sorted(found, key=lambda each: (each.used, each.path.name))


def prune(directory: Path, limit: int, since: float = math.inf) -> list[Entry]:
    """Remove the least recently used entries until no more than a limit is kept.

    What is being made is left alone, and what others hold the lock of.

    Args:
        directory: of the cache.
        limit: bytes that may stay.
        since: what was used at this time or later stays, seconds since 1970.

    Returns:
        What was removed.
    """
    found = entries(directory)
    left, removed = sum(each.bytes for each in found), []
    store = Store(directory) if found else None
    for entry in found:
        if left <= limit or entry.used >= since:
            break
        if store is not None and entry.step != "unfinished" and _remove(store, entry):
            left -= entry.bytes
            removed.append(entry)
    return removed


def damaged(directory: Path) -> list[tuple[Entry, str]]:
    """Return entries whose checksums do not hold, and what is wrong with each.

    Args:
        directory: of the cache.
    """
    finished = [each for each in entries(directory) if each.step != "unfinished"]
    checked = [(each, verify(each.path)[0]) for each in finished]
    return [(each, problem) for each, problem in checked if problem]


def _directories(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return [path for path in directory.iterdir() if path.is_dir() and path.name != "locks"]


def _entry(path: Path) -> Entry | None:
    """None where somebody removes it at this moment."""
    with suppress(FileNotFoundError):
        size = sum(each.stat().st_size for each in path.iterdir())
        index = path / INDEX
        used = (index if index.exists() else path).stat().st_mtime
        return Entry(path, "unfinished" if MARK in path.name else _step(index), size, used)
    return None


def _step(index: Path) -> str:
    try:
        return str(json.loads(index.read_bytes())["key"]["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged"


def _remove(store: Store, entry: Entry) -> bool:
    with suppress(Timeout, FileNotFoundError), store.locked(entry.path.name, 0):
        store.discard(entry.path.name)
        return True
    return False
