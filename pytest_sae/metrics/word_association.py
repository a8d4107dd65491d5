"""Which words give a concept away: association within the values of another concept.

choose(said, intended, spurious, most=50) -> words
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import chi2

from pytest_sae.metrics.ablation import Bools
from pytest_sae.numbers.bootstrap import Floats

#: Chance of a false word among all that are tested (Bonferroni).
LEVEL = 0.05
MOST = 50
_FEWEST = 5  # texts that hold a word, below which its test means nothing


def choose(
    said: Sequence[Collection[str]], intended: Bools, spurious: Bools, most: int = MOST
) -> tuple[str, ...]:
    """Return the words that tell the spurious label, the strongest first.

    A word is chosen if its presence is associated with the spurious label within the values of the
    intended one (Mantel and Haenszel 1959), surely by Bonferroni's bound over all words, and less
    with the intended label within the values of the spurious one.

    Args:
        said: per training text, its distinct words.
        intended: (text,) bool.
        spurious: (text,) bool.
        most: words at most.

    Returns:
        Words; none if none is surely associated.

    >>> spurious = np.arange(80) % 2 > 0
    >>> said = [{"the", "she" if each else "he"} for each in spurious]
    >>> choose(said, np.arange(80) % 4 > 1, spurious)
    ('he', 'she')
    """
    names, present = _presence(said)
    frequent = np.flatnonzero(present.sum(0) >= _FEWEST)
    if not len(frequent):
        return ()
    columns = sparse.csr_array(present[:, frequent])
    about = association(columns, spurious, intended)
    other = association(columns, intended, spurious)
    sure = about > chi2.isf(LEVEL / len(frequent), df=1)
    ranked = np.argsort(-about, kind="stable")
    chosen = [place for place in ranked if sure[place] and about[place] > other[place]]
    return tuple(names[frequent[place]] for place in chosen[:most])


def association(present: sparse.csr_array, label: Bools, within: Bools) -> Floats:
    """Return Mantel and Haenszel's chi-square of each column with a label, (column,).

    `(sum over strata of (a - E a))^2 / sum over strata of Var a`, a the texts with the word and the
    label, its expectation and variance hypergeometric; one degree of freedom.

    Args:
        present: (text, column) 0 or 1.
        label: (text,) bool.
        within: (text,) bool, its two values are the strata.

    Returns:
        0 or more; larger means more surely associated, in either direction.

    A word in just the four positives of eight texts, in one stratum: `2^2 / (4 4 4 4 / (64 7))`.

    >>> label = np.arange(8) < 4
    >>> association(sparse.csr_array(label[:, None] * 1.0), label, np.ones(8, bool)).tolist()
    [7.0]
    """
    excess, variance = (np.zeros(present.shape[1]) for _ in range(2))
    for stratum in (within, ~within):
        size, positive = int(stratum.sum()), int((stratum & label).sum())
        if size < 2:
            continue
        held: Floats = present.T @ stratum.astype(float)
        excess += present.T @ (stratum & label).astype(float) - held * positive / size
        variance += held * (size - held) * positive * (size - positive) / (size**2 * (size - 1))
    result: Floats = np.zeros_like(excess)
    np.divide(excess**2, variance, out=result, where=variance > 0)
    return result


def _presence(said: Sequence[Collection[str]]) -> tuple[list[str], sparse.csr_array]:
    names = sorted({word for words in said for word in words})
    column = {word: place for place, word in enumerate(names)}
    rows = np.repeat(np.arange(len(said)), [len(words) for words in said])
    columns: NDArray[np.int64] = np.array([column[w] for words in said for w in words], np.int64)
    shape = (len(said), len(names))
    return names, sparse.csr_array((np.ones(len(columns)), (rows, columns)), shape=shape)
