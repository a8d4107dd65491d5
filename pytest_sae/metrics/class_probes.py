"""Probes that tell each class of a task from all the others, and the texts they are fitted on.

fit_probes(task, x, labels, classes, seed, fits=5) -> ProbeSets       # no dictionary: cache it
one_versus_rest(labels, classes)       # who is positive
balanced(labels, classes)              # what each text weighs, when nothing is drawn
members(labels, classes, rng)          # which texts the published protocol draws
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pytest_sae.errors import DataError
from pytest_sae.metrics.ablation import Bools, Indices
from pytest_sae.metrics.probe_bootstrap import equal_cells
from pytest_sae.metrics.protocol import FITS, REDRAWN
from pytest_sae.numbers.bootstrap import Floats, generator, resample
from pytest_sae.probes import (
    PUBLISHED,
    ProbeRecipe,
    ProbeSets,
    Redrawn,
    fit_logistic,
    fit_published,
    fit_redrawn,
)


def fit_probes(
    task: str,
    x: NDArray[np.floating],
    labels: Indices,
    classes: int,
    seed: int,
    fits: int = FITS,
    recipe: ProbeRecipe = PUBLISHED,
) -> ProbeSets:
    """Fit one one-versus-rest probe per class.

    Args:
        task: its name, part of what seeds the randomness.
        x: (text, d) pooled activations of the training texts.
        labels: (text,) class indices.
        classes: how many classes there are.
        seed: the run's.
        fits: number of bootstrap resamples (within classes) for the default estimator.
        recipe: of the published fit, whose negatives are drawn as `members` does.

    Returns:
        ProbeSets, one probe per class in every set.

    Raises:
        DataError: a class without texts, or a single class.

    Three classes, an axis each:

    >>> labels = np.arange(30) % 3
    >>> sets = fit_probes("task", np.eye(3)[labels], labels, 3, seed=0, fits=1)
    >>> sets.fits[0].weight.argmax(1).tolist()
    [0, 1, 2]
    """
    targets = one_versus_rest(labels, classes)
    chosen = members(labels, classes, generator(seed, "tpp", task, "train"))
    rngs = [generator(seed, "tpp", task, str(c)) for c in range(classes)]
    published = fit_published(x, targets, [np.flatnonzero(row) for row in chosen], rngs, recipe)
    counts = resamples(task, labels, seed, fits)
    weights = counts[:, None] * balanced(labels, classes)
    together = fit_logistic(x, np.tile(targets, (fits, 1)), weights.reshape(-1, len(x)))
    redrawn = _redrawn(task, x, labels, classes, seed, counts[:REDRAWN], recipe)
    return ProbeSets(published, together.split(classes), redrawn)


def _redrawn(
    task: str,
    x: NDArray[np.floating],
    labels: Indices,
    classes: int,
    seed: int,
    counts: Floats,
    recipe: ProbeRecipe,
) -> tuple[Redrawn, ...]:
    """Fit by the published recipe, from the draw of the negatives on, on resampled texts."""
    texts, rngs = list[Indices](), list[np.random.Generator]()
    for place, drawn in enumerate(counts):
        rows = np.repeat(np.arange(len(labels)), drawn.astype(np.int64))
        rng = generator(seed, "tpp", task, "redrawn", str(place))
        texts += [rows[chosen] for chosen in members(labels[rows], classes, rng)]
        rngs += [
            generator(seed, "tpp", task, "redrawn", str(place), str(c)) for c in range(classes)
        ]
    return fit_redrawn(x, one_versus_rest(labels, classes), texts, rngs, counts, recipe)


def resamples(task: str, labels: Indices, seed: int, fits: int) -> Floats:
    """Return how often each training text was drawn for each fit, (fit, text).

    Args:
        task: its name, part of what seeds the draws.
        labels: (text,) class indices; texts are drawn within their class.
        seed: the run's.
        fits: how many fits.

    Returns:
        Whole numbers; in each row those of a class sum to its number of texts.

    >>> resamples("task", np.array([0, 0, 1]), seed=0, fits=2)[:, 2].tolist()
    [1.0, 1.0]
    """
    return resample(len(labels), generator(seed, "tpp", task, "fits"), labels, fits).counts


def one_versus_rest(labels: Indices, classes: int) -> Bools:
    """(text,) class indices to (class, text) bool.

    Args:
        labels: (text,) class indices.
        classes: how many classes there are.

    Returns:
        Row c is true for the texts of class c.

    Raises:
        DataError: a class without texts, or a single class.

    >>> one_versus_rest(np.array([0, 1, 1]), 2).tolist()
    [[True, False, False], [False, True, True]]
    """
    targets: Bools = labels == np.arange(classes)[:, None]
    empty = np.flatnonzero(~targets.any(1))
    if classes < 2 or len(empty):
        raise DataError(
            f"TPP needs two or more classes with texts each; of {classes} classes "
            f"these have none: {empty.tolist()}"
        )
    return targets


def balanced(labels: Indices, classes: int) -> Floats:
    """Return (class, text) weights: half to the class, half to the others in equal shares.

    Args:
        labels: (text,) class indices.
        classes: how many classes there are.

    Returns:
        Shares; each row sums to 1.

    >>> balanced(np.array([0, 1, 2, 2]), 3)[0].tolist()
    [0.5, 0.25, 0.125, 0.125]
    """
    targets = one_versus_rest(labels, classes)
    share = equal_cells(labels) * classes
    return np.where(targets, share / 2, share / (2 * (classes - 1)))


def members(labels: Indices, classes: int, rng: np.random.Generator) -> Bools:
    """Choose each probe's texts as the published protocol does, (class, text) bool.

    All of its class, and `ceil(n / (classes - 1))` of each other class (all of it if smaller).
    Drawn once: clean and ablated values must be read on the same negatives.

    Args:
        labels: (text,) class indices.
        classes: how many classes there are.
        rng: chooses the negatives.

    Returns:
        Row c is true for the texts that class c's probe is fitted or read on.

    >>> members(np.array([0, 0, 1, 2, 2]), 3, np.random.default_rng(0)).sum(1).tolist()
    [4, 3, 4]
    """
    targets = one_versus_rest(labels, classes)
    chosen = targets.copy()
    for c in range(classes):
        wanted = -(-int(targets[c].sum()) // (classes - 1))
        for other in range(classes):
            if other != c:
                chosen[c, rng.permutation(np.flatnonzero(targets[other]))[:wanted]] = True
    return chosen
