"""Which latents are explained: as many of each density, drawn by hash so that order is nothing.

priority(seed, *names) -> bytes              # a random order of things that have names
strata(densities, count) -> [latents, ...]   # the live latents by density, rarest first
quotas(total, count) -> [int, ...]
borrowed(latents, seed) -> {latent: another}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pytest_sae.numbers.bootstrap import Floats, generator


def priority(seed: int, *names: str | int) -> bytes:
    """Return 32 random bytes that depend on the arguments alone, to sort named things by.

    Args:
        seed: the run's.
        names: of the thing that is to be ordered.

    Returns:
        Bytes that compare like numbers.

    >>> len(priority(0, "latent", 3)), priority(0, "latent", 3) == priority(0, "latent", 3)
    (32, True)
    """
    return hashlib.sha256(json.dumps([seed, *names]).encode()).digest()


def strata(densities: Floats, count: int, seed: int) -> list[list[int]]:
    """Return the live latents in groups of equal size by density, each in random order.

    Args:
        densities: (latent,) share of tokens on which it is not zero; 0 is dead.
        count: how many groups, the rarest latents first.
        seed: of the order within a group.

    Returns:
        Indices of latents, group by group; dead latents are in none.

    >>> groups = strata(np.array([0.5, 0.0, 0.1, 0.2, 0.3]), 2, seed=0)
    >>> [sorted(group) for group in groups]
    [[2, 3], [0, 4]]
    """
    live = np.flatnonzero(densities > 0)
    ranked = live[np.lexsort((live, densities[live]))]
    return [
        sorted(map(int, group), key=lambda latent: priority(seed, "autointerp", latent))
        for group in np.array_split(ranked, count)
    ]


def quotas(total: int, count: int) -> list[int]:
    """Return how many latents each of `count` groups gives, as equal as can be.

    Args:
        total: how many latents are wanted.
        count: how many groups there are.

    Returns:
        Numbers that sum to `total` and differ by one at most, the larger ones first.

    >>> quotas(10, 4)
    [3, 3, 2, 2]
    """
    return [total // count + (group < total % count) for group in range(count)]


def borrowed(latents: Sequence[int], seed: int) -> dict[int, int]:
    """Return another latent for each, none of them twice: a random cycle through all of them.

    Args:
        latents: distinct indices.
        seed: the run's.

    Returns:
        By latent, the one that it borrows from.

    Raises:
        ValueError: a single latent has no other.

    >>> found = borrowed([3, 5, 8], seed=0)
    >>> sorted(found), sorted(found.values()), any(one == two for one, two in found.items())
    ([3, 5, 8], [3, 5, 8], False)
    """
    ordered: NDArray[np.int64] = np.sort(np.asarray(latents, np.int64))
    if len(ordered) == 1:
        raise ValueError("one latent alone cannot borrow from another")
    cycle = generator(seed, "autointerp", "borrowed").permutation(ordered)
    return dict(zip(map(int, cycle), map(int, np.roll(cycle, 1)), strict=True))
