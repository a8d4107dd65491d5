"""Shards: which SAEs one of several machines evaluates, whole ones, so that no work is repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sae.errors import OptionError

if TYPE_CHECKING:
    from pytest_sae.dictionaries.spec import SAESpec


def parse_shard(text: str) -> tuple[int, int]:
    """Return K and N of `K/N`."""
    which, _, count = text.partition("/")
    return int(which), int(count)


def packed(sizes: Mapping[str, int], count: int) -> list[list[str]]:
    """Return who is evaluated where: the largest first, each to whoever has the least so far.

    Args:
        sizes: of each SAE by id, in any unit; a size of 0 counts as 1.
        count: of shards.

    Returns:
        The ids of each shard, sorted; the same on every machine that sees the same files.
    """
    shards: list[list[str]] = [[] for _ in range(count)]
    loads = [0] * count
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        lightest = min(range(count), key=lambda shard: (loads[shard], shard))
        shards[lightest].append(name)
        loads[lightest] += max(1, sizes[name])
    return [sorted(each) for each in shards]


def of_shard(specs: Sequence[SAESpec], shard: str) -> tuple[SAESpec, ...]:
    """Return the SAEs of a shard, in their order.

    Args:
        specs: all SAEs; the sizes of their files decide who goes where.
        shard: `K/N`, the K-th of N.

    Raises:
        OptionError: there are fewer SAEs than shards.
    """
    which, count = parse_shard(shard)
    if count > len(specs):
        raise OptionError(
            f"--sae-shard={shard}: there {'is' if len(specs) == 1 else 'are'} {len(specs)} SAE"
            f"{'s' * (len(specs) != 1)}, so that a shard would be empty. Expected N of at most "
            f"{len(specs)}."
        )
    chosen = packed(sizes(specs), count)[which - 1]
    return tuple(spec for spec in specs if spec.id in chosen)


def sizes(specs: Sequence[SAESpec]) -> dict[str, int]:
    """Return the bytes of the files of each SAE, by its id.

    Args:
        specs: of SAEs that are on this machine.
    """
    return {spec.id: _size(Path(spec.path)) for spec in specs}


def _size(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
