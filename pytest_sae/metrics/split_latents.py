"""Which latents stand for a label: forward selection, accepted while held-out F1 rises.

split_latents(z, targets, z_judged, targets_judged, most, rise) -> latents of each label
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from pytest_sae.metrics.ablation import Bools, Indices
from pytest_sae.metrics.sparse_probing import columns_of, deviation, standardised
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.probes.columns import fit_columns

_L2 = 1e-3  # on standardised columns and the mean loss: enough where a latent separates


def split_latents(
    z: sparse.csr_array,
    targets: Bools,
    z_judged: sparse.csr_array,
    targets_judged: Bools,
    most: int,
    rise: float,
) -> list[Indices]:
    """Return the latents of each label, the first always, others while they are worth it.

    The next latent is the one along which the balanced logistic loss of the probe on those before
    it falls most steeply per standard deviation, upwards only: a latent that tells what a word is
    not says nothing of what it is. It is accepted if F1 on the judged rows rises by more than
    `rise`.

    Args:
        z: (row, d_sae) latents to choose from.
        targets: (label, row) bool.
        z_judged: other rows.
        targets_judged: their labels.
        most: latents per label at most.
        rise: of F1.

    Returns:
        One array of latents per label, in the order in which they were taken.

    Latent 1 tells the label alone, so that no other is worth it:

    >>> targets = np.arange(12)[None] % 2 > 0
    >>> z = sparse.csr_array(np.stack([np.ones(12), targets[0]], axis=1) * 1.0)
    >>> [each.tolist() for each in split_latents(z, targets, z, targets, most=2, rise=0.03)]
    [[1]]
    """
    spread = deviation(z)
    used = _useful(spread, most)
    z, z_judged, spread = z[:, used], z_judged[:, used], spread[used]
    scale = np.where(spread > 0, spread, np.inf)
    weights = np.where(
        targets, 0.5 / targets.sum(1, keepdims=True), 0.5 / (~targets).sum(1, keepdims=True)
    )
    residual = weights * (targets - 0.5)
    chosen = np.zeros((len(targets), 0), np.int64)
    accepted = np.ones(len(targets), np.int64)
    best, growing = np.full(len(targets), -np.inf), np.ones(len(targets), bool)
    for k in range(1, min(most, z.shape[1]) + 1):
        chosen = np.concatenate([chosen, _next(z, residual, scale, chosen)[:, None]], axis=1)
        known, unseen = standardised(columns_of(z, chosen), columns_of(z_judged, chosen))
        probes = fit_columns(known, targets, weights[:, None], [0.0], [_L2])
        f1 = _f1(probes.logits(unseen)[:, 0, 0] > 0, targets_judged)
        growing &= f1 > best + rise
        accepted[growing], best = k, np.where(growing, f1, best)
        if not growing.any():
            break
        logits = probes.logits(known)[:, 0, 0]
        residual = weights * (targets - 1 / (1 + np.exp(-logits)))
    return [used[each[:count]] for each, count in zip(chosen, accepted, strict=True)]


def _useful(spread: Floats, most: int) -> Indices:
    """Return the latents that vary, and of the others the few that may be taken for want of them.

    How many latents are silent on all rows is then no matter of time or memory.
    """
    return np.sort(np.concatenate([np.flatnonzero(spread > 0), np.flatnonzero(spread <= 0)[:most]]))


def _next(z: sparse.csr_array, residual: Floats, scale: Floats, chosen: Indices) -> Indices:
    slope = (z.T @ residual.T).T / scale
    np.put_along_axis(slope, chosen, -np.inf, axis=1)
    result: Indices = slope.argmax(1)
    return result


def _f1(said: Bools, true: Bools) -> Floats:
    result: Floats = 2 * (said & true).sum(1) / np.maximum(1, said.sum(1) + true.sum(1))
    return result
