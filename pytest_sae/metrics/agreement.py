"""Agreement of two dictionaries of one site, such as two seeds of one training."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from torch import Tensor
from torch.nn.functional import normalize

from pytest_sae.metrics.row_sample import spread
from pytest_sae.metrics.weights import COMPARED
from pytest_sae.numbers.bootstrap import Floats, generator, mean_estimate
from pytest_sae.numbers.estimate import Estimate, not_applicable, undefined

METRIC = "seed_agreement"
DENSE = 4096  # rows up to which all pairs are candidates
CANDIDATES = 64  # of a row in a larger dictionary, in both directions
_SCORES = 2**24


def seed_agreement(first: Tensor | None, second: Tensor | None, seed: int) -> Estimate:
    """Return how alike the decoder rows of two dictionaries are, paired as well as can be.

    The mean cosine over the pairs of the optimal one-to-one assignment, which pairs as many rows
    as the smaller dictionary has (Paulo and Belrose 2025, "Sparse autoencoders trained on the same
    data learn different features", arXiv 2501.16615). Rows of norm zero take no part.

    In a space of few dimensions unrelated rows agree too: `floor` in details is the same mean
    after a random rotation of the second dictionary, which leaves its own geometry as it is.

    Above 32,768 rows some of the first dictionary's (`row_sample.spread`) are paired with all of
    the other's, so that no more than 2^30 cosines are computed: fewer rows compete for the same
    partner, of the floor's as of the value's. Details say how many.

    Args:
        first: (d_sae, d) decoder rows of the dictionary under test.
        second: (d_sae', d) of the other.
        seed: of the rotation.

    Returns:
        -1 to 1; higher means that the directions are the site's rather than the seed's. The
        interval is the normal one over pairs.

    The same rows in another order agree:

    >>> rows = torch.eye(4)
    >>> seed_agreement(rows, rows[[2, 0, 3, 1]], seed=0).value
    1.0
    """
    if first is None or second is None:
        return not_applicable(METRIC, "one of the two dictionaries has no fixed decoder rows")
    if first.shape[1] != second.shape[1]:
        reason = (
            f"the rows are {first.shape[1]} wide in one dictionary and {second.shape[1]} in the "
            "other: expected two dictionaries of one site"
        )
        return undefined(METRIC, reason)
    own, other = _units(first), _units(second.to(first.device))
    if not len(own) or not len(other):
        return undefined(METRIC, "all decoder rows of one dictionary are zero")
    some = spread(own, max(1, COMPARED // len(other)))
    sampled: dict[str, object] = {"paired_rows": len(some)} if len(some) < len(own) else {}
    own = own[some]
    turned = other @ _rotation(other.shape[1], seed).to(other)
    floor = float(matched_cosines(own, turned).mean())
    matched = matched_cosines(own, other)
    above = float((matched >= 0.7).mean())
    details: dict[str, object] = {"floor": floor, "share_above_0.7": above, **sampled}
    return mean_estimate(METRIC, matched, "pairs", details)


def matched_cosines(first: Tensor, second: Tensor, dense: int = DENSE) -> Floats:
    """Return the cosines of the best one-to-one pairs, one for each row of the smaller set.

    Exact up to `dense` rows. Beyond, only the 64 nearest rows of each row are candidates, beside
    one arbitrary complete pairing that makes sure there is a solution: a lower bound, which is
    exact where the best pairs are among each other's nearest.

    Args:
        first: (row, d) of norm one.
        second: (row', d) of norm one.
        dense: see above.

    Returns:
        -1 to 1 each, in the order of the smaller set's rows.

    >>> matched_cosines(torch.eye(2), torch.tensor([[0.0, 1.0], [0.6, 0.8], [1.0, 0.0]])).tolist()
    [1.0, 1.0]
    """
    if len(first) > len(second):
        first, second = second, first
    if len(second) <= dense:
        cosines = (first @ second.T).double().cpu().numpy()
        best: Floats = cosines[linear_sum_assignment(cosines, maximize=True)]
        return best
    row, column, cosine = _candidates(first, second)
    # The solver takes an explicit zero for no edge, and larger costs for worse ones.
    table = csr_array((2.0 - cosine, (row, column)), shape=(len(first), len(second)))
    matched: Floats = 2.0 - table[min_weight_full_bipartite_matching(table)]
    return np.asarray(matched).ravel()


def _candidates(first: Tensor, second: Tensor) -> tuple[Floats, Floats, Floats]:
    diagonal = torch.arange(len(first), device=first.device)
    own = (first * second[: len(first)]).sum(1)
    there = _nearest(first, second)
    back = _nearest(second, first)
    row = torch.cat([there[0], back[1], diagonal])
    column = torch.cat([there[1], back[0], diagonal])
    cosine = torch.cat([there[2], back[2], own])
    _, place = np.unique((row * len(second) + column).cpu().numpy(), return_index=True)
    return tuple(each.cpu().numpy()[place] for each in (row, column, cosine.double()))  # type: ignore[return-value]


def _nearest(rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    most = min(CANDIDATES, len(others))
    found = [
        (part @ others.T).topk(most, dim=1) for part in rows.split(max(1, _SCORES // len(others)))
    ]
    row = torch.arange(len(rows), device=rows.device).repeat_interleave(most)
    indices = torch.cat([each.indices for each in found]).flatten()
    return row, indices, torch.cat([each.values for each in found]).flatten()


def _units(rows: Tensor) -> Tensor:
    return normalize(rows[torch.linalg.vector_norm(rows, dim=1) > 0].float())


def _rotation(d: int, seed: int) -> Tensor:
    drawn = generator(seed, METRIC, "floor").normal(size=(d, d))
    return torch.from_numpy(np.linalg.qr(drawn)[0])
