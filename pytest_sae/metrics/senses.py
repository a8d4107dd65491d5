"""Does the strongest latent at a word agree just where the word's sense does?

    strongest(z, strength) -> (row,)
    estimates(pairs, seed) -> list[Estimate]

Pairs of texts use one word in the same sense or in different ones (PS-Eval, Minegishi et al. 2025,
arXiv 2501.06254, on the pairs of WiC). A pair is told to be of one sense where the same latent is
strongest at the word in both texts. "Same" is the positive answer:

    recall       same sense, same latent        specificity   different senses, different latents
    senses       their mean, the balanced accuracy: 0.5 for whoever does not look at the sense,
                 whatever share of the pairs has which answer; accuracy, precision and F1 are the
                 published figures and move with that share

Strongest is the latent that writes most, activation times norm of its decoder row: which one it is
does not change when a latent is scaled up and its row down. The reference is a threshold on the
cosine of the activations themselves, chosen on the other half of the words.

No pair of a word is independent of its others, so words are drawn for the intervals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pytest_sae.metrics.ablation import Bools, Indices
from pytest_sae.numbers.bootstrap import (
    Floats,
    divide,
    drawn_estimate,
    generator,
    resample,
)
from pytest_sae.numbers.estimate import Estimate

NOTHING = -1  # in place of a latent where none fires
METRIC = "senses"


@dataclass(frozen=True, eq=False)
class SensePairs:
    """Pairs of texts with one word, of all tasks.

    Args:
        word: (pair,) which word it is; pairs of one word are drawn together.
        same: (pair,) whether its sense is the same in both.
        latents: (pair, 2) the strongest latent at the word in either, `NOTHING` for none.
        cosine: (pair,) of the two activations.
    """

    word: NDArray[np.int64]
    same: Bools
    latents: Indices
    cosine: Floats

    @property
    def agree(self) -> Bools:
        """(pair,) whether one latent is strongest in both; never where none fires."""
        first, second = self.latents.T
        result: Bools = (first == second) & (first != NOTHING)
        return result


def strongest(z: sparse.csr_array, norms: Floats | None) -> Indices:
    """Return which latent writes most in every row.

    Args:
        z: (row, d_sae) activations of any sign.
        norms: (d_sae,) of the decoder rows, None where what a latent writes depends on the token.

    Returns:
        (row,) the first of several that write the same; `NOTHING` where no latent fires.

    >>> z = sparse.csr_array(np.array([[1.0, 3.0], [1.0, 0.5], [0.0, 0.0]]))
    >>> strongest(z, np.array([2.0, 0.5])).tolist()
    [0, 0, -1]
    """
    written = z if norms is None else z.multiply(norms[None])
    rows = sparse.csr_array(abs(written))
    rows.eliminate_zeros()
    rows.sort_indices()
    found = np.full(rows.shape[0], NOTHING, np.int64)
    for row, (start, stop) in enumerate(zip(rows.indptr[:-1], rows.indptr[1:], strict=True)):
        if stop > start:
            found[row] = rows.indices[start + np.argmax(rows.data[start:stop])]
    return found


def estimates(pairs: SensePairs, seed: int) -> list[Estimate]:
    """Return the figures of `senses`.

    Args:
        pairs: with both answers among them.
        seed: of the draws of words, and of their halves.

    Returns:
        In the order of the card, NaN intervals where a draw has no such pair.

    Two words, of which one keeps its latent in both senses:

    >>> pairs = SensePairs(np.array([0, 0, 1, 1]), np.array([True, False, True, False]),
    ...     np.array([[4, 4], [4, 7], [2, 2], [2, 2]]), np.array([0.9, 0.1, 0.8, 0.2]))
    >>> found = {each.metric: each.value for each in estimates(pairs, seed=0)}
    >>> found["senses"], found["senses.recall"], found["senses.specificity"]
    (0.75, 1.0, 0.5)
    """
    told = _Counts.of(pairs, pairs.agree, seed)
    known = _Counts.of(pairs, by_cosine(pairs, seed), seed)
    columns: dict[str, Floats] = {
        METRIC: told.balanced,
        "senses.recall": told.recall,
        "senses.specificity": told.specificity,
        "senses.precision": divide(told.hit, told.hit + told.false),
        "senses.f1": divide(2 * told.hit, 2 * told.hit + told.false + told.missed),
        "senses.accuracy": divide(told.hit + told.rejected, told.whole),
        "senses.activations": known.balanced,
        "senses.gain": told.balanced - known.balanced,
    }
    n = {"pairs": len(pairs.same), "words": len(np.unique(pairs.word))}
    details = {"pairs of one sense": int(pairs.same.sum()), "silent": _silent(pairs)}
    return [
        drawn_estimate(metric, values, {}, n, details=details if metric == METRIC else {})
        for metric, values in columns.items()
    ]


def by_cosine(pairs: SensePairs, seed: int) -> Bools:
    """Return which pairs the cosine of their activations tells to be of one sense.

    Words are split into halves at random; the threshold for one half is the one with the highest
    balanced accuracy on the other, the lowest of several.

    Args:
        pairs: of which each half has both answers, or its threshold is that of all pairs.
        seed: of the halves.

    Returns:
        (pair,).

    Cosines that tell all of it, in two halves of a word each:

    >>> pairs = SensePairs(np.array([0, 0, 1, 1]), np.array([True, False, True, False]),
    ...     np.zeros((4, 2), np.int64), np.array([0.9, 0.1, 0.8, 0.2]))
    >>> by_cosine(pairs, seed=0).tolist()
    [True, False, False, False]
    """
    words = np.unique(pairs.word)
    order = generator(seed, METRIC, "halves").permutation(len(words))
    half = np.isin(pairs.word, words[order[: len(words) // 2]])
    found = np.zeros(len(half), np.bool_)
    for side in (half, ~half):
        found[side] = pairs.cosine[side] >= _threshold(pairs, ~side)
    return found


def _threshold(pairs: SensePairs, among: Bools) -> float:
    known = among if len(np.unique(pairs.same[among])) == 2 else np.ones_like(among)
    cosine, same = pairs.cosine[known], pairs.same[known]
    candidates = np.append(np.unique(cosine), np.inf)
    above = cosine[:, None] >= candidates
    right = above[same].mean(0) + (~above[~same]).mean(0)
    return float(candidates[np.argmax(right)])


@dataclass(frozen=True, eq=False)
class _Counts:
    """How often what was told, (draw,) each; the sample in row 0."""

    hit: Floats
    missed: Floats
    rejected: Floats
    false: Floats

    @classmethod
    def of(cls, pairs: SensePairs, told: Bools, seed: int) -> _Counts:
        """Count what was told of the pairs, words drawn the same for every dictionary."""
        cells = [pairs.same & told, pairs.same & ~told, ~pairs.same & ~told, ~pairs.same & told]
        words, place = np.unique(pairs.word, return_inverse=True)
        draws = resample(len(words), generator(seed, METRIC, "words")).with_sample()
        columns = [np.bincount(place, each.astype(float), len(words)) for each in cells]
        return cls(*draws.sums(np.stack(columns, axis=1)).T)

    @property
    def recall(self) -> Floats:
        return divide(self.hit, self.hit + self.missed)

    @property
    def specificity(self) -> Floats:
        return divide(self.rejected, self.rejected + self.false)

    @property
    def balanced(self) -> Floats:
        return (self.recall + self.specificity) / 2

    @property
    def whole(self) -> Floats:
        return self.hit + self.missed + self.rejected + self.false


def _silent(pairs: SensePairs) -> int:
    """Pairs with a text in which no latent fires at the word."""
    return int((pairs.latents == NOTHING).any(1).sum())
