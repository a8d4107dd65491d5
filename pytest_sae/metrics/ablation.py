"""What linear probes read after latents have been ablated, without decoding anything.

For mean-pooled linear probes and an affine decoder, with latents ordered by effect,

    logit_i(n) = w . x̄_i + b - sum_{r <= n} z̄_{i,(r)} (w . d_(r))

exactly: the reconstruction error and b_dec stay where they are and cancel. One encode of each
text gives every n, every ablated concept and every probe.

    mean_difference(z, positive, negative) -> (d_sae,)
    written(decoder, weight) -> (d_sae, probe)        lengths(decoder) -> (d_sae,)
    rows_of(decoder, latents) -> (n, d_out)
    order(effects, most) -> latent indices                       # descending, positive effects only
    Removal (protocol) .logits(orders, ns, weight) -> (order, n, text, probe)   # what is taken away
    Removal.means(sets) -> (set, text, d_out)                    # the same before any probe
    Removal.prefixes(order, ns) -> iterator of (text, d_out)     # of the first n latents
    AffineRemoval(z, decoder)      MeasuredRemoval(means)

Decoder rows are an array, or a tensor on any device: there they stay, and what is computed with all
of them is computed there. Only what is small comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from pytest_sae.numbers.bootstrap import Floats

Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]
Rows = NDArray[np.floating] | Tensor

_ROWS = 4096
_MEASURED_BYTES = 2**28  # of means that are measured at once


def mean_difference(z: sparse.csr_array, positive: NDArray[Any], negative: NDArray[Any]) -> Floats:
    """Return `mean_pos z̄_j - mean_neg z̄_j` of every latent, (d_sae,) float64.

    Args:
        z: (text, d_sae) pooled latents of the training texts.
        positive: (text,) bool, or the weights of a weighted mean.
        negative: (text,) likewise; texts in neither are left out.

    Returns:
        In the latents' unit; positive where a latent is larger on the positive texts.

    >>> z = sparse.csr_array(np.array([[2.0, 1.0], [4.0, 1.0], [1.0, 1.0]]))
    >>> mean_difference(z, np.array([True, True, False]), np.array([False, False, True])).tolist()
    [2.0, 0.0]
    """
    contrast = positive / positive.sum() - negative / negative.sum()
    difference: Floats = z.T @ contrast
    return difference


def written(decoder: Rows, weight: NDArray[np.floating]) -> Floats:
    """Return `w_c . d_j`, what one unit of each latent adds to each probe, (d_sae, probe) float64.

    Args:
        decoder: (d_sae, d_out) decoder rows, taken in blocks: no float64 copy of all of them.
        weight: (probe, d_out).

    Returns:
        Logits per unit of a latent.

    >>> written(np.array([[1.0, 0.0], [1.0, 2.0]]), np.array([[3.0, 1.0]])).tolist()
    [[3.0], [5.0]]
    """
    probes = torch.from_numpy(np.array(weight, np.float64)).T
    products = [rows @ probes.to(rows.device) for rows in _blocks(decoder)]
    result: Floats = torch.cat(products).cpu().numpy()
    return result


def lengths(decoder: Rows) -> Floats:
    """Return the Euclidean norm of every decoder row, in blocks.

    Args:
        decoder: (d_sae, d_out) decoder rows.

    Returns:
        (d_sae,) float64, 0 or more.

    >>> lengths(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [5.0, 0.0]
    """
    found: Floats = torch.cat([rows.norm(dim=1) for rows in _blocks(decoder)]).cpu().numpy()
    return found


def rows_of(decoder: Rows, latents: Indices) -> Floats:
    """Return the decoder rows of some latents: no other is copied.

    Args:
        decoder: (d_sae, d_out) decoder rows.
        latents: (n,) indices.

    Returns:
        (n, d_out) float64.

    >>> rows_of(torch.eye(3), np.array([2])).tolist()
    [[0.0, 0.0, 1.0]]
    """
    found: Floats = _some(decoder, latents).cpu().numpy()
    return found


def _blocks(decoder: Rows) -> Iterator[Tensor]:
    """Consecutive rows in float64, on their device; at least one block."""
    for start in range(0, max(1, len(decoder)), _ROWS):
        yield _wide(decoder[start : start + _ROWS])


def _some(decoder: Rows, latents: Indices) -> Tensor:
    if isinstance(decoder, Tensor):
        return _wide(decoder[torch.from_numpy(latents).to(decoder.device)])
    return _wide(decoder[latents])


def _wide(rows: Rows) -> Tensor:
    return rows.double() if isinstance(rows, Tensor) else torch.from_numpy(np.array(rows, float))


def order(effects: Floats, most: int) -> Indices:
    """Return the latents to ablate, by descending effect; ties go to the lower index.

    Only positive effects count: ablating a latent without one removes nothing that was asked for,
    so the result may be shorter than `most`. Without ties the choice does not depend on how the
    latents are numbered.

    Args:
        effects: (d_sae,).
        most: at most this many.

    Returns:
        Indices of latents, the largest effect first.

    >>> order(np.array([0.2, -1.0, 0.5, 0.0]), 3).tolist()
    [2, 0]
    """
    candidates = np.flatnonzero(effects > 0)
    if len(candidates) > most:
        last = np.partition(effects[candidates], len(candidates) - most)[len(candidates) - most]
        candidates = candidates[effects[candidates] >= last]
    return candidates[np.argsort(-effects[candidates], kind="stable")][:most]


class Removal(Protocol):
    """What ablating latents takes away from x̄ and from the logits of linear probes on it."""

    def means(self, sets: list[Indices], /) -> NDArray[np.floating]:
        """Return what ablating each set takes from x̄, (set, text, d_out)."""

    def prefixes(self, latents: Indices, ns: Sequence[int], /) -> Iterator[Tensor]:
        """Give what the first n latents of an order take from x̄, (text, d_out) float64 per n.

        On the device where it was computed.
        """

    def logits(
        self, orders: Sequence[Indices], ns: Sequence[int], weight: NDArray[np.floating]
    ) -> Floats:
        """Return what is removed, (order, n, text, probe) float64.

        Args:
            orders: latents, the first n of which are ablated together.
            ns: ascending numbers of latents; a shorter order is ablated as far as it goes.
            weight: (probe, d_out) of the probes.
        """


@dataclass(frozen=True)
class AffineRemoval:
    """The identity above, for dictionaries whose decoder is affine.

    Args:
        z: (text, d_sae) pooled latents of the texts that are read.
        decoder: (d_sae, d_out) decoder rows.
    """

    z: sparse.csr_array
    decoder: Rows

    def means(self, sets: list[Indices], /) -> Floats:
        """Return `sum z̄_j d_j` over each set, (set, text, d_out) float64."""
        result = np.empty((len(sets), self.z.shape[0], self.decoder.shape[1]))
        for place, latents in enumerate(sets):
            result[place] = self._taken(latents).cpu().numpy()
        return result

    def prefixes(self, latents: Indices, ns: Sequence[int], /) -> Iterator[Tensor]:
        """Give what the first n latents take, (text, d_out) per n; see `Removal`."""
        taken: Tensor | None = None
        for low, high in zip((0, *ns), ns, strict=False):
            more = self._taken(latents[low:high])
            taken = more if taken is None else taken + more
            yield taken

    def _taken(self, latents: Indices) -> Tensor:
        """(text, d_out) float64, where the decoder is; a few thousand latents at a time."""
        parts = [latents[start : start + _ROWS] for start in range(0, len(latents), _ROWS)]
        taken = self._of_few(parts[0] if parts else latents)
        for more in parts[1:]:
            taken = taken + self._of_few(more)
        return taken

    def _of_few(self, latents: Indices) -> Tensor:
        rows = _some(self.decoder, latents)
        there = self._columns[:, latents].tocoo()
        text, place, value = (
            torch.from_numpy(each).to(rows.device) for each in (there.row, there.col, there.data)
        )
        amounts = rows.new_zeros(there.shape)
        amounts[text.long(), place.long()] = value.double()
        return amounts @ rows

    @cached_property
    def _columns(self) -> sparse.csc_array:
        return self.z.tocsc()

    def logits(
        self, orders: Sequence[Indices], ns: Sequence[int], weight: NDArray[np.floating]
    ) -> Floats:
        """Return what is removed, (order, n, text, probe); see `Removal`."""
        removed = np.zeros((len(orders), len(ns), self.z.shape[0], len(weight)))
        for each, latents in enumerate(orders):
            adds = written(_some(self.decoder, latents), weight)
            amounts = self._columns[:, latents].toarray().astype(np.float64)
            for place, (low, high) in enumerate(zip((0, *ns), ns, strict=False)):
                removed[each, place] = amounts[:, low:high] @ adds[low:high]
        return np.cumsum(removed, axis=1)


@dataclass(frozen=True)
class MeasuredRemoval:
    """The general path: what ablation removes is measured by decoding, whatever the decoder.

    Args:
        means: given latent sets, returns (set, text, d_out): the mean over each text's valid
            tokens of what ablating the set removes from the reconstruction (x̄ less the mean
            of the ablated activations).
    """

    means: Callable[[list[Indices]], NDArray[np.floating]]

    def prefixes(self, latents: Indices, ns: Sequence[int], /) -> Iterator[Tensor]:
        """Give what the first n latents take, (text, d_out) per n; see `Removal`."""
        for taken in self.means([latents[:n] for n in ns]):
            yield _wide(taken)

    def logits(
        self, orders: Sequence[Indices], ns: Sequence[int], weight: NDArray[np.floating]
    ) -> Floats:
        """Return what is removed, (order, n, text, probe); see `Removal`."""
        probes = np.asarray(weight, np.float64).T
        removed: list[Floats] = []
        together = 1
        # Each call reads all texts, and the means of all orders may be more than memory holds.
        while len(removed) < len(orders):
            some = orders[len(removed) : len(removed) + together]
            means = np.asarray(self.means([latents[:n] for latents in some for n in ns]))
            read = (each.astype(np.float64) @ probes for each in means)
            removed.extend(np.stack([*read]).reshape(len(some), len(ns), *means.shape[1:2], -1))
            together = max(1, together * _MEASURED_BYTES // max(1, means.nbytes))
        return np.stack(removed)
