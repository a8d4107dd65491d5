"""What the command line does with the cache: tell what is there, check it, make room."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from pytest_sae.activations.cache import Entry, damaged, entries, prune


def told(directory: Path) -> str:
    """Return what a cache holds, by what made it.

    Args:
        directory: of the cache.
    """
    found = entries(directory)
    sizes, counts = Counter[str](), Counter[str](each.step for each in found)
    for each in found:
        sizes[each.step] += each.bytes
    lines = [
        f"  {step}: {_size(size)} in {counts[step]} {_entries(counts[step])}"
        for step, size in sizes.most_common()
    ]
    since = f", unused for {_days(found[0])} at most" if found else ""
    total = (
        f"{directory}: {_size(sum(sizes.values()))} in {len(found)} {_entries(len(found))}{since}"
    )
    return "".join(f"{line}\n" for line in (total, *lines))


def pruned(directory: Path, limit: int) -> str:
    """Remove what was used longest ago until no more than a limit is kept, and tell what went.

    Args:
        directory: of the cache.
        limit: bytes that may stay.

    Returns:
        How much went and how much is left, a line.
    """
    gone = prune(directory, limit)
    left = sum(each.bytes for each in entries(directory))
    freed = _size(sum(each.bytes for each in gone))
    over = ", more than asked for: the rest is in use" if left > limit else ""
    removed = f"{len(gone)} {_entries(len(gone))} removed ({freed})"
    return f"{directory}: {removed}, {_size(left)} left{over}\n"


def verified(directory: Path) -> tuple[str, int]:
    """Compare every entry with its checksums.

    Args:
        directory: of the cache.

    Returns:
        What is told, and 1 where an entry is damaged; such a one is made again when it is needed.
    """
    found = damaged(directory)
    lines = [f"{entry.path}: {problem}" for entry, problem in found]
    checked = sum(each.step != "unfinished" for each in entries(directory))
    lines.append(f"{directory}: {len(found)} of {checked} {_entries(checked)} damaged")
    return "".join(f"{line}\n" for line in lines), int(bool(found))


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def _entries(count: int) -> str:
    return "entry" if count == 1 else "entries"


def _days(oldest: Entry) -> str:
    days = int((time.time() - oldest.used) // (24 * 3600))
    return "less than a day" if days < 1 else f"{days} day{'s' * (days != 1)}"
