"""A bounded choice, while a corpus streams by, of the windows in which each latent fires."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from pytest_sae.activations.windows import Floats, Hashes, Ints

Rule = Literal["strongest", "sampled"]
_NO_BAR = np.uint64(2**64 - 1)


@dataclass(frozen=True, eq=False)
class Firings:
    """Pairs of a latent and a window in which it fires.

    Args:
        latent: (pair,) its place among the latents that were asked for.
        document: (pair,) the window's document.
        number: (pair,) which of the document's windows.
        priority: (pair,) hash by which pairs are sampled, the lowest first.
        peak: (pair,) largest absolute activation.
        values: (pair, width) the latent at each token, zeros after a shorter window's end.
    """

    latent: Ints
    document: Ints
    number: Ints
    priority: Hashes
    peak: Floats
    values: Floats

    def take(self, where: Ints | npt.NDArray[np.bool_] | slice) -> Firings:
        """Return some of the pairs."""
        return Firings(*(getattr(self, each.name)[where] for each in fields(self)))

    def __len__(self) -> int:
        return len(self.latent)


def joined(parts: list[Firings]) -> Firings:
    """Return the pairs of all parts (one at least)."""
    return Firings(
        *(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Firings))
    )


class Reservoir:
    """For each latent the best `size` of all pairs that were ever offered.

    What is kept depends on the set of pairs and not on their order. Pairs that cannot be among
    the best any more are refused at once; the others wait until there are as many of them as
    kept ones, so that sorting costs little per pair.

    Args:
        latents: how many.
        size: pairs per latent.
        width: tokens per window at most.
        rule: `strongest` keeps the largest peaks, `sampled` the lowest priorities.
    """

    def __init__(self, latents: int, size: int, width: int, rule: Rule) -> None:
        self._size = size
        self._rule = rule
        none = np.zeros(0, np.int64)
        self._kept = Firings(
            none,
            none,
            none,
            np.zeros(0, np.uint64),
            np.zeros(0, np.float32),
            np.zeros((0, width), np.float32),
        )
        self._waiting: list[Firings] = []
        self._lowest_peak = np.zeros(latents, np.float32)
        self._highest_priority = np.full(latents, _NO_BAR)

    def wanted(self, latent: Ints, priority: Hashes, peak: Floats) -> npt.NDArray[np.bool_]:
        """Return which pairs may be among the best, as far as is known by now."""
        if self._size == 0:
            return np.zeros(len(latent), np.bool_)
        if self._rule == "strongest":
            return peak >= self._lowest_peak[latent]
        return priority <= self._highest_priority[latent]

    def offer(self, pairs: Firings) -> None:
        """Add pairs that are wanted."""
        if len(pairs):
            self._waiting.append(pairs)
        if sum(map(len, self._waiting)) > max(len(self._kept), len(self._lowest_peak)):
            self._settle()

    def best(self) -> Firings:
        """Return what is kept, latent by latent, the best first."""
        self._settle()
        return self._kept

    def _settle(self) -> None:
        pairs = joined([self._kept, *self._waiting])
        self._waiting = []
        keys: list[npt.NDArray[Any]] = [pairs.priority, pairs.latent]
        if self._rule == "strongest":
            keys.insert(1, -pairs.peak)
        order = np.lexsort(keys)
        latent = pairs.latent[order]
        rank = np.arange(len(order)) - np.searchsorted(latent, latent)
        self._kept = pairs.take(order[rank < self._size])
        last = order[rank == self._size - 1]
        self._lowest_peak[pairs.latent[last]] = pairs.peak[last]
        self._highest_priority[pairs.latent[last]] = pairs.priority[last]


@dataclass(frozen=True, eq=False)
class WindowPool:
    """Windows with all that fires in them, sampled by their own priorities.

    Args:
        document: (window,).
        number: (window,) which of the document's windows.
        priority: (window,) ascending.
        peaks: (window, d_sae), as in `windows.WindowCodes`.
    """

    document: Ints
    number: Ints
    priority: Hashes
    peaks: sp.csr_array

    def take(self, where: Ints | npt.NDArray[np.bool_]) -> WindowPool:
        """Return some of the windows."""
        return WindowPool(
            self.document[where], self.number[where], self.priority[where], self.peaks[where]
        )

    def with_more(self, more: WindowPool, size: int) -> WindowPool:
        """Return the `size` windows of lowest priority of both pools."""
        if len(self.priority) == size:
            more = more.take(more.priority < self.priority[-1])
        if len(more.priority) == 0:
            return self
        both = WindowPool(
            np.concatenate([self.document, more.document]),
            np.concatenate([self.number, more.number]),
            np.concatenate([self.priority, more.priority]),
            sp.csr_array(sp.vstack([self.peaks, more.peaks], format="csr")),
        )
        return both.take(np.argsort(both.priority)[:size])


def empty_pool(d_sae: int) -> WindowPool:
    """Return a pool without windows."""
    none = np.zeros(0, np.int64)
    return WindowPool(
        none, none, np.zeros(0, np.uint64), sp.csr_array((0, d_sae), dtype=np.float32)
    )
