"""Feature absorption of first letters (Chanin et al. 2024, arXiv 2409.14507). LOWER IS BETTER.

    folds_of(words, letters, seed) -> (word,)
    fit_letters(x, letters, folds, count) -> LinearProbes, count per fold     # no dictionary: cache
    absorbed(words, probes) -> Absorbed
    absorption_estimates.estimates(absorbed, alphabet, seed) -> list[Estimate]

A linear probe reads a word's first letter at the word's position. An SAE has latents for "starts
with S" (the split latents), and may leave them silent on some words, whose own latents then carry
the letter's direction: the split latents are absorbed. On each test word that the probe gets right,

    proj_j = z_j (d_j . p),  main = sum over split latents,  absorb = the three largest others
    fraction = 0 if main >= x.p or absorb < 0.4 x.p;  1 if main <= 0;  else m / (m + main)
    with m = min(absorb, x.p - main)

p is the probe's unit direction; other latents count from cos(d_j, p) >= 0.1. *Full* absorption: all
split latents silent, and the largest projection (cos >= 0.025) at least 0.4 of x.p.

- `canonical` takes `z_j cos(d_j, p)` for the projection, as the published code does: the same for
  decoder rows of norm one, and dependent on how latents are scaled for others.
- Every word is a test word once (five folds), read by probes fitted on the other folds; the
  published split is one of five. Spellings that differ in case stand in one fold.
- Probes are converged logistic regressions; a word's letter is the one of largest logit.
- Split latents are chosen within the training folds: ranked by forward selection (the latent that
  would lower the loss of the probe on those before it most steeply) on three of them, and accepted
  while F1 rises on the fourth. The published code looks at the test words for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pytest_sae.metrics.ablation import Bools, Indices, Rows, lengths, written
from pytest_sae.metrics.split_latents import split_latents
from pytest_sae.numbers.bootstrap import Floats, generator
from pytest_sae.probes import LinearProbes, fit_logistic

FOLDS = 5
MOST_SPLIT = 10  # latents that may stand for one letter
RISE = 0.03  # of F1, that one more latent must bring
ABSORBERS = 3  # other latents that count together
MIN_COSINE = 0.1
MIN_COSINE_FULL = 0.025
MIN_SHARE = 0.4  # of x.p, that the absorbers must carry
SILENT = 1e-8
LETTER_L2 = 0.003  # of the full probes: 26 letters share fewer words than a text label has


@dataclass(frozen=True)
class SpelledWords:
    """One-token words read at their own position.

    Args:
        letters: (word,) index of each word's first letter.
        folds: (word,) from `folds_of`.
        x: (word, d) activations at the site that the dictionary writes.
        z: (word, d_sae) latents.
        rows: (d_sae, d) decoder rows.
    """

    letters: Indices
    folds: Indices
    x: NDArray[np.floating]
    z: sparse.csr_array
    rows: Rows

    @cached_property
    def lengths(self) -> Floats:
        """(d_sae,) norms of the decoder rows."""
        return lengths(self.rows)


@dataclass(frozen=True)
class Share:
    """What was absorbed of each word's letter.

    Args:
        fraction: (word,) from 0 to 1; 0 for words that the probe gets wrong.
        full: (word,) bool.
    """

    fraction: Floats
    full: Bools


@dataclass(frozen=True)
class Absorbed:
    """All words read through one dictionary.

    Args:
        letters: (word,) index of the first letter.
        right: (word,) whether the probe that never saw the word gets it right.
        f1: (letter,) of the probes, over all words.
        projected: with `d_j . p`.
        canonical: with `cos(d_j, p)`.
        splits: (fold, letter) how many split latents there are.
        main: per fold and letter, the split latents.
    """

    letters: Indices
    right: Bools
    f1: Floats
    projected: Share
    canonical: Share
    splits: Indices
    main: Sequence[Sequence[Indices]]


def folds_of(words: Sequence[str], letters: Indices, seed: int) -> Indices:
    """Deal words to folds, letter by letter in equal shares; `Cat` goes where `cat` goes.

    Args:
        words: distinct.
        letters: (word,) index of the first letter.
        seed: the run's.

    Returns:
        Folds from 0 to 4.

    >>> folds = folds_of(["cat", "Cat", "cow", "dog"], np.array([0, 0, 0, 1]), seed=0)
    >>> bool(folds[0] == folds[1]), bool(folds[0] == folds[2])
    (True, False)
    """
    folds = np.empty(len(words), np.int64)
    for letter in np.unique(letters):
        places = np.flatnonzero(letters == letter).tolist()
        groups = sorted({words[place].lower() for place in places})
        dealt = generator(seed, "absorption", str(letter)).permutation(len(groups)) % FOLDS
        fold = dict(zip(groups, dealt.tolist(), strict=True))
        folds[places] = [fold[words[place].lower()] for place in places]
    return folds


def fit_letters(
    x: NDArray[np.floating], letters: Indices, folds: Indices, count: int
) -> LinearProbes:
    """Fit one probe per letter without each fold's words; `split(count)` gives them by fold.

    Args:
        x: (word, d).
        letters: (word,) below count, each in two folds or more.
        folds: (word,).
        count: how many letters there are.

    Returns:
        FOLDS x count probes.

    Raises:
        MeasurementError: a letter without words outside of a fold, or x is not finite.

    Two letters, an axis each:

    >>> letters, folds = np.arange(20) % 2, np.arange(20) // 2 % 5
    >>> probes = fit_letters(np.eye(2)[letters], letters, folds, count=2)
    >>> [fit.weight.argmax(1).tolist() for fit in probes.split(2)]
    [[0, 1], [0, 1], [0, 1], [0, 1], [0, 1]]
    """
    fits = []
    for fold in range(FOLDS):
        known = folds != fold
        targets = letters[known] == np.arange(count)[:, None]
        fits.append(fit_logistic(x[known], targets, np.ones(targets.shape), LETTER_L2))
    return LinearProbes(
        np.concatenate([fit.weight for fit in fits]), np.concatenate([fit.bias for fit in fits])
    )


def absorbed(words: SpelledWords, probes: LinearProbes) -> Absorbed:
    """Measure absorption on every word.

    Args:
        words: read through the dictionary.
        probes: from `fit_letters` on the same words and folds.

    Returns:
        What is absorbed of every word's letter, 0 to 1; LOWER is better.

    Source: Chanin et al. 2024 (arXiv 2409.14507).

    One latent per letter, which never misses a word: nothing is absorbed.

    >>> letters, folds = np.arange(20) % 2, np.arange(20) // 2 % 5
    >>> x = np.eye(2)[letters]
    >>> words = SpelledWords(letters, folds, x, sparse.csr_array(x), np.eye(2))
    >>> found = absorbed(words, fit_letters(x, letters, folds, 2))
    >>> bool(found.right.all()), float(found.projected.fraction.max())
    (True, 0.0)
    """
    count = len(probes.bias) // FOLDS
    answers = np.empty(len(words.letters), np.int64)
    projected, canonical = (_nothing(len(words.letters)) for _ in range(2))
    main = []
    for fold, fit in enumerate(probes.split(count)):
        unseen = np.flatnonzero(words.folds == fold)
        answers[unseen] = fit.logits(words.x[unseen]).argmax(0)
        main.append(_main(words, fold, count))
        units = fit.weight / np.linalg.norm(fit.weight.astype(np.float64), axis=1)[:, None]
        inner = written(words.rows, units)
        for letter, latents in enumerate(main[-1]):
            mine = unseen[(words.letters[unseen] == letter) & (answers[unseen] == letter)]
            for share, scaled in ((projected, True), (canonical, False)):
                found = _absorb(words, mine, units[letter], inner[:, letter], latents, scaled)
                share.fraction[mine], share.full[mine] = found.fraction, found.full
    right = answers == words.letters
    f1 = _f1(answers, words.letters, count)
    splits = np.array([[len(latents) for latents in each] for each in main])
    return Absorbed(words.letters, right, f1, projected, canonical, splits, main)


def absorb(
    words: SpelledWords, places: Indices, p: Floats, main: Indices, scaled: bool = True
) -> Share:
    """Return the absorption of some words of one letter; the formula is the module's.

    Args:
        words: all words.
        places: (n,) indices of those that are meant.
        p: (d,) unit direction of the letter's probe.
        main: the letter's split latents.
        scaled: whether a projection is `z_j (d_j . p)`, otherwise `z_j cos(d_j, p)`.

    Returns:
        Fractions from 0 to 1, and which words are absorbed in full; LOWER is better.

    Source: Chanin et al. 2024 (arXiv 2409.14507).

    The split latent, 0, carries a quarter of the word's projection and latent 1 the rest:

    >>> x, z = np.array([[1.0, 0.0]]), sparse.csr_array(np.array([[0.25, 0.75]]))
    >>> words = SpelledWords(np.array([0]), np.array([0]), x, z, np.array([[1.0, 0.0], [1.0, 0.0]]))
    >>> absorb(words, np.array([0]), np.array([1.0, 0.0]), np.array([0])).fraction.tolist()
    [0.75]
    """
    return _absorb(words, places, p, written(words.rows, p[None])[:, 0], main, scaled)


def _absorb(
    words: SpelledWords, places: Indices, p: Floats, inner: Floats, main: Indices, scaled: bool
) -> Share:
    """`absorb`, with what one unit of each latent writes along p, (d_sae,)."""
    firing = words.z[places]
    # A latent that is silent on all of these words carries nothing, unless there is no other.
    there = np.union1d(firing.indices, [*main, 0]).astype(np.int64)
    inner, norms = inner[there], words.lengths[there]
    cosine = np.divide(inner, norms, out=np.zeros_like(inner), where=norms > 0)
    z = firing[:, there].toarray().astype(np.float64)
    projections = z * (inner if scaled else cosine)
    main = np.searchsorted(there, main)
    target = words.x[places].astype(np.float64) @ p
    mains = projections[:, main].sum(1)
    others = projections.copy()
    others[:, main] = 0.0
    candidates = np.where(cosine >= MIN_COSINE, np.maximum(others, 0.0), 0.0)
    absorber = np.sort(candidates, axis=1)[:, -ABSORBERS:].sum(1)
    silent = (np.abs(z[:, main]) < SILENT).all(1)
    largest = others.argmax(1)
    strong = others[np.arange(len(places)), largest] >= MIN_SHARE * target
    full = silent & strong & (cosine[largest] >= MIN_COSINE_FULL) & (target > 0)
    return Share(_fraction(target, mains, absorber), full)


def _fraction(target: Floats, main: Floats, absorber: Floats) -> Floats:
    """0 as well where the probe's direction has nothing to be absorbed (target <= 0)."""
    taken = np.minimum(absorber, target - main)
    share = np.divide(taken, taken + main, out=np.ones_like(taken), where=main > 0)
    nothing = (main >= target) | (absorber < MIN_SHARE * target) | (target <= 0)
    return np.where(nothing, 0.0, share)


def _main(words: SpelledWords, fold: int, count: int) -> list[Indices]:
    """The split latents of every letter, from the words outside of a fold."""
    judged = words.folds == (fold + 1) % FOLDS
    fitted = (words.folds != fold) & ~judged
    targets = words.letters == np.arange(count)[:, None]
    return split_latents(
        words.z[fitted], targets[:, fitted], words.z[judged], targets[:, judged], MOST_SPLIT, RISE
    )


def _f1(answers: Indices, letters: Indices, count: int) -> Floats:
    said, true = (each == np.arange(count)[:, None] for each in (answers, letters))
    result: Floats = 2 * (said & true).sum(1) / np.maximum(1, said.sum(1) + true.sum(1))
    return result


def _nothing(words: int) -> Share:
    return Share(np.zeros(words), np.zeros(words, bool))
