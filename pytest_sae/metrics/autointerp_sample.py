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
    """Return 32 random bytes that depend on the arguments alone, to sort named things by."""
    return hashlib.sha256(json.dumps([seed, *names]).encode()).digest()


def strata(densities: Floats, count: int, seed: int) -> list[list[int]]:
    """Return the live latents in groups of equal size by density, each in random order.

    Args:
        densities: (latent,) share of tokens on which it is not zero; 0 is dead.
        count: how many groups, the rarest latents first.
        seed: of the order within a group.
    """
    live = np.flatnonzero(densities > 0)
    ranked = live[np.lexsort((live, densities[live]))]
    return [
        sorted(map(int, group), key=lambda latent: priority(seed, "autointerp", latent))
        for group in np.array_split(ranked, count)
    ]


def quotas(total: int, count: int) -> list[int]:
    """Return how many latents each of `count` groups gives, as equal as can be."""
    return [total // count + (group < total % count) for group in range(count)]


def borrowed(latents: Sequence[int], seed: int) -> dict[int, int]:
    """Return another latent for each, none of them twice: a random cycle through all of them.

    Raises:
        ValueError: a single latent has no other.
    """
    ordered: NDArray[np.int64] = np.sort(np.asarray(latents, np.int64))
    if len(ordered) == 1:
        raise ValueError("one latent alone cannot borrow from another")
    cycle = generator(seed, "autointerp", "borrowed").permutation(ordered)
    return dict(zip(map(int, cycle), map(int, np.roll(cycle, 1)), strict=True))
