"""How independent latents are: of the directions they write, and of the tokens they fire on.

    coherence(rows, live) -> [coherence, duplicate_share]
    sums = CoactivationSums(asked, d_sae); sums.update(firings); coactivation(sums, live_share)

Capacity that died makes both look better, so that the live share stands beside every figure.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn.functional import normalize

from pytest_sae.metrics.row_sample import spread
from pytest_sae.metrics.weights import COMPARED
from pytest_sae.numbers.bootstrap import Floats, divide, mean_estimate, share_estimate
from pytest_sae.numbers.estimate import Estimate, not_applicable, undefined

Indices = NDArray[np.int64]

NAMES = ("coherence", "duplicate_share")
SAMPLED = 1024  # latents that all others are compared with
FEWEST_FIRINGS = 20  # on fewer tokens a latent's company is chance
DUPLICATE = 0.9  # cosine from which on two rows are one
BABEL = (1, 2, 5, 10, 20, 50, 100)
_SCORES = 2**24  # cosines held at once (64 MB in float32)
_PAIRS = 2**26  # pairs of latents whose firing is counted (256 MB in float32)


def coherence(rows: Tensor | None, live: Tensor) -> list[Estimate]:
    """Return coherence and duplicate_share of the decoder rows of live latents.

    - coherence `max_{i != j} |cos(d_i, d_j)|`, the mutual coherence (Donoho and Elad 2003).
      `curve` in details is the Babel function (Tropp 2004), the n largest cosines of a row summed,
      over the row where that is most, and divided by n.
    - duplicate_share: latents with a row of cosine 0.9 or more to another live one's (as Switch
      SAEs have them in several experts, arXiv 2410.08201).

    Above 32,768 live latents some of them (`row_sample.spread`) are compared with all, so that no
    more than 2^30 cosines are computed; details say how many. The coherence is then the largest
    that was seen: two that were not compared may be closer, and its interval ends at 1.

    Args:
        rows: (d_sae, d) decoder rows; None where there are none.
        live: (d_sae,) bool, which latents fire at all.

    Returns:
        Values in [0, 1]; lower means more independent, *given the live share* in details.

    >>> rows = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> [round(each.value, 4) for each in coherence(rows, torch.ones(3, dtype=torch.bool))]
    [0.8, 0.0]
    """
    if rows is None:
        return [not_applicable(name, "the dictionary has no fixed decoder rows") for name in NAMES]
    live = live.to(rows.device)
    kept = rows[live & (torch.linalg.vector_norm(rows, dim=1) > 0)]
    details: dict[str, object] = {"live_share": float(live.double().mean())}
    if len(kept) < 2:
        return [undefined(name, "fewer than two latents are live", None, details) for name in NAMES]
    some = spread(kept, max(1, COMPARED // len(kept)))
    nearest = nearest_cosines(kept, max(BABEL), some)
    most, count = float(nearest[:, 0].max()), {"latents": len(some)}
    if len(some) < len(kept):
        details["compared_rows"] = len(some)
    curve = [
        {"n": n, "value": float(nearest[:, :n].double().sum(1).max()) / n}
        for n in BABEL
        if n <= nearest.shape[1]
    ]
    twins = int((nearest[:, 0] >= DUPLICATE).sum())
    # Of all rows that there are it is known exactly, of a sample from below.
    se, ci = (0.0, (most, most)) if len(some) == len(kept) else (None, (most, 1.0))
    return [
        Estimate("coherence", most, {}, se, ci, count, details={**details, "curve": curve}),
        share_estimate("duplicate_share", twins, len(some), "latents", details),
    ]


def nearest_cosines(rows: Tensor, most: int, asked: Tensor) -> Tensor:
    """Return some rows' largest absolute cosines with all others, descending, (row, n) float32.

    In blocks of rows, as `weights.largest_cosines`.

    Args:
        rows: (row, d), two or more, none of them zero.
        most: n, or as many as there are other rows.
        asked: (row,) long, which rows.

    Returns:
        0 to 1 each, in the order of `asked`.

    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    >>> nearest_cosines(rows, 2, torch.tensor([0, 1])).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    unit, found = normalize(rows.float()), []
    for block in asked.split(max(1, _SCORES // len(unit))):
        cosines = (unit[block] @ unit.T).abs()
        cosines[torch.arange(len(block), device=rows.device), block] = -1.0
        found.append(cosines.topk(min(most, len(unit) - 1), dim=1).values)
    return torch.cat(found).clamp(max=1.0)


def sampled(densities: Floats, tokens: int, most: int = SAMPLED) -> Indices:
    """Return the latents that are looked at, ascending.

    Of those that fire often enough, at even distances by density: how they are numbered does not
    matter. So few, above 65,536 latents, that no more than 2^26 pairs are counted.

    Args:
        densities: (d_sae,) share of the tokens on which a latent is not zero.
        tokens: of the stream.
        most: latents at most.

    Returns:
        Indices of latents that fire on 20 tokens or more, and on all but as few.

    >>> sampled(np.array([0.0, 0.01, 0.1, 0.5, 1.0]), tokens=1000).tolist()
    [2, 3]
    """
    fires = np.rint(densities * tokens)
    enough = np.flatnonzero((fires >= FEWEST_FIRINGS) & (fires <= tokens - FEWEST_FIRINGS))
    ranked = enough[np.argsort(fires[enough], kind="stable")]
    most = min(most, max(1, _PAIRS // len(densities)))
    if len(ranked) > most:
        ranked = ranked[np.linspace(0, len(ranked) - 1, most).round().astype(np.int64)]
    return np.sort(ranked)


class CoactivationSums:
    """On how many tokens latents fire together, for some of them with all.

    Args:
        asked: (J,) indices of latents.
        d_sae: number of latents.
    """

    def __init__(self, asked: Indices, d_sae: int) -> None:
        self.asked = asked
        self.tokens = 0
        self.fires = np.zeros(d_sae, np.int64)
        self.together = np.zeros((len(asked), d_sae), np.float32)  # exact up to 2^24 tokens

    def update(self, firings: sparse.csr_array) -> None:
        """Add tokens.

        Args:
            firings: (token, d_sae), 1 where a latent is not zero.
        """
        self.tokens += firings.shape[0]
        self.fires += np.bincount(firings.indices, minlength=firings.shape[1])
        self.together += (firings[:, self.asked].T @ firings).toarray()


def coactivation(sums: CoactivationSums, live_share: float) -> Estimate:
    """Return how strongly latents fire together with the one that is most like them.

    The mean over latents of the largest correlation `phi` between whether the latent fires on a
    token and whether another does; latents that fire on fewer than 20 tokens (or on all but as
    few) take no part.

        phi_ij = (P(i and j) - P(i) P(j)) / sqrt(P(i) (1 - P(i)) P(j) (1 - P(j)))

    Args:
        sums: over the stream.
        live_share: latents that fire at all, for details.

    Returns:
        At most 1; 0 for independent latents, 1 where each has a twin; lower is better, given the
        live share. The interval is the normal one over latents.

    Two latents that fire together on half of the tokens:

    >>> sums = CoactivationSums(np.arange(2), d_sae=2)
    >>> sums.update(sparse.csr_array(np.repeat([[1, 1], [0, 0]], 20, axis=0)))
    >>> coactivation(sums, live_share=1.0).value
    1.0
    """
    details: dict[str, object] = {"live_share": live_share}
    enough = (sums.fires >= FEWEST_FIRINGS) & (sums.fires <= sums.tokens - FEWEST_FIRINGS)
    if enough.sum() < 2 or not len(sums.asked):
        reason = f"fewer than two latents fire on {FEWEST_FIRINGS} tokens"
        return undefined("coactivation", reason, details=details)
    strongest = np.array([_strongest(sums, place, enough) for place in range(len(sums.asked))])
    return mean_estimate("coactivation", strongest, "latents", details)


def _strongest(sums: CoactivationSums, place: int, enough: NDArray[np.bool_]) -> float:
    others = enough.copy()
    others[sums.asked[place]] = False
    return float(phi(sums, place)[others].max())


def phi(sums: CoactivationSums, place: int) -> Floats:
    """Return the correlation of one asked latent's firing with each latent's, (d_sae,).

    NaN where a latent always fires or never does.

    Args:
        sums: over the stream.
        place: of the latent among those that are asked for.

    Returns:
        -1 to 1.

    >>> sums = CoactivationSums(np.arange(1), d_sae=2)
    >>> sums.update(sparse.csr_array(np.array([[1, 0], [0, 1]])))
    >>> phi(sums, 0).tolist()
    [1.0, -1.0]
    """
    rates = sums.fires / sums.tokens
    own = rates[sums.asked[place]]
    sd = np.sqrt(own * (1 - own) * (rates * (1 - rates)))
    return divide(sums.together[place].astype(np.float64) / sums.tokens - own * rates, sd)
