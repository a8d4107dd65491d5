"""How much of a black-box preference model's verdict sparse latents can tell (WIMHF)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pytest_sae.metrics.auc import rank_auc
from pytest_sae.numbers.bootstrap import Floats, divide, drawn_estimate, generator, resample
from pytest_sae.numbers.estimate import Estimate, undefined
from pytest_sae.probes import fit_logistic

METRIC = "preference_auc_kept"
_CHANCE = 0.5
_TELLS = 0.55  # AUC of the black box, below which there is nothing to keep

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PreferencePairs:
    """Pairs of replies: latents of both, who was preferred, and what the black box says.

    Args:
        difference: (pair, d_sae) mean latents of reply A less those of reply B.
        preferred: (pair,) whether people preferred A.
        score: (pair,) the black box's score of A less that of B; empty on the training pairs.
    """

    difference: sparse.csr_array
    preferred: Bools
    score: Floats


def preference_auc_kept(train: PreferencePairs, test: PreferencePairs, seed: int) -> Estimate:
    """Return the share of a preference model's AUC that sparse latent differences keep.

    `(AUC(latents) - 1/2) / (AUC(black box) - 1/2)` on the test pairs, with AUC(latents) that of
    one logistic regression on `z̄(A) - z̄(B)`, fitted on the training pairs with the fixed penalty of
    `probes.fit_logistic` (Movva et al. 2025, "What's in my human feedback?", arXiv 2510.26202).
    Latents that differ in no training pair take no part.

    Args:
        train: pairs to fit on; their scores are not looked at.
        test: other pairs.
        seed: of the bootstrap over test pairs.

    Returns:
        1 keeps all that the black box knows, 0 is chance, more than 1 is possible; higher is
        better. Undefined where the black box itself is below 0.55, or one answer never occurs.

    The one latent orders the pairs as the black box does:

    >>> preferred = np.arange(20) % 2 > 0
    >>> difference = sparse.csr_array(np.where(preferred, 1.0, -1.0)[:, None])
    >>> pairs = PreferencePairs(difference, preferred, preferred * 1.0)
    >>> preference_auc_kept(pairs, pairs, seed=0).value
    1.0
    """
    used = np.flatnonzero(np.abs(train.difference).sum(0) > 0)
    both = all(0 < pairs.preferred.sum() < len(pairs.preferred) for pairs in (train, test))
    if not both or not len(used):
        return undefined(METRIC, "the pairs of one split are all preferred alike, or do not differ")
    box = rank_auc(test.score, test.preferred)
    if box < _TELLS:
        return undefined(METRIC, f"the preference model's own AUC is {box:.3f}: nothing to keep")
    # Sparse: dense, its curvature alone would be a matrix of all that differ by all that differ.
    x = sparse.csr_array(train.difference[:, used])
    probe = fit_logistic(x, train.preferred[None], np.ones((1, x.shape[0])))
    said = test.difference[:, used] @ probe.weight[0].astype(np.float64) + probe.bias[0]
    own = rank_auc(said, test.preferred)
    counts = resample(len(said), generator(seed, METRIC)).counts.astype(np.int64)
    replicates = np.array([_aucs(said, test, np.repeat(np.arange(len(said)), c)) for c in counts])
    kept = divide(replicates[:, 0] - _CHANCE, replicates[:, 1] - _CHANCE)
    values = np.concatenate([[(own - _CHANCE) / (box - _CHANCE)], kept])
    n, details = {"pairs": len(said), "latents": len(used)}, {"auc": own, "black_box_auc": box}
    return drawn_estimate(METRIC, values, {}, n, details=details)


def _aucs(said: Floats, test: PreferencePairs, drawn: NDArray[np.int64]) -> tuple[float, float]:
    labels = test.preferred[drawn]
    return rank_auc(said[drawn], labels), rank_auc(test.score[drawn], labels)
