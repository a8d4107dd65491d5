"""Spurious correlation removal, the automated SHIFT (Karvonen et al. 2024, arXiv 2411.18895).

    Quadrants(intended, spurious)                                     # the labels of a split
    fit_probes(task, x, quadrants, seed, fits=5) -> ProbeSets        # no dictionary: cache it
    refit(task, x, quadrants, seed, fits) -> LinearProbes     # the confounded probes on other x
    task_gaps(task, x_test, test, probes, seed) -> list[Gap]         # in `scr_gaps`: before any SAE
    score_task(task, probes, train, z_train, test, x_test, decoder, removal, ns=NS) -> ScrTask
    estimates(tasks, seed, headline_n=20) -> list[Estimate]           # in `scr_estimates`

A probe fitted where an intended concept (profession) and a spurious one (gender) always go
together leans on both. Ablating the latents of one of them should leave a probe that reads the
other: `score = (ablated - confounded) / (clean - confounded)`, clean being the probe fitted for
the concept that is read. 1 is as good as that probe, 0 no better than doing nothing.

Two directions: `spurious` ablates the spurious concept's latents and reads the intended label;
`intended` the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pytest_sae.errors import DataError
from pytest_sae.metrics.ablation import (
    Bools,
    Indices,
    Removal,
    Rows,
    mean_difference,
    order,
    written,
)
from pytest_sae.metrics.probe_bootstrap import equal_cells
from pytest_sae.metrics.protocol import FITS, NS, REDRAWN
from pytest_sae.numbers.bootstrap import Floats, generator, resample
from pytest_sae.probes import (
    PUBLISHED,
    LinearProbes,
    ProbeRecipe,
    ProbeSets,
    Redrawn,
    fit_logistic,
    fit_published,
    fit_redrawn,
)

Concept = Literal["intended", "spurious"]
Measure = Literal["accuracy", "margin"]

#: The concept whose latents are ablated; the other one's label is READ.
DIRECTIONS: tuple[Concept, ...] = ("spurious", "intended")
#: The probes of a set, in this order.
CONCEPTS = ("intended", "spurious", "confounded")
READ: dict[Concept, Concept] = {"spurious": "intended", "intended": "spurious"}


@dataclass(frozen=True)
class Quadrants:
    """The two labels of every text of a split.

    Args:
        intended: (text,) bool.
        spurious: (text,) bool.

    Raises:
        DataError: one of the four combinations has no text.
    """

    intended: Bools
    spurious: Bools

    def __post_init__(self) -> None:
        missing = sorted({0, 1, 2, 3} - set(self.cells.tolist()))
        if missing:
            names = ["neither", "spurious only", "intended only", "both"]
            raise DataError(
                "an SCR task needs texts of all four combinations of its labels; there "
                f"is none with: {', '.join(names[cell] for cell in missing)}"
            )

    @property
    def cells(self) -> NDArray[np.int64]:
        """(text,) the quadrant, 0 to 3."""
        return 2 * self.intended.astype(np.int64) + self.spurious

    def label(self, concept: Concept) -> Bools:
        """(text,) the label of one concept."""
        return self.intended if concept == "intended" else self.spurious


def fit_probes(
    task: str,
    x: NDArray[np.floating],
    quadrants: Quadrants,
    seed: int,
    fits: int = FITS,
    recipe: ProbeRecipe = PUBLISHED,
) -> ProbeSets:
    """Fit the intended, spurious and confounded probes of a task.

    The confounded ones see only the texts where both labels agree.

    Args:
        task: its name, part of what seeds the randomness.
        x: (text, d) pooled activations of the training texts.
        quadrants: their labels.
        seed: the run's.
        fits: number of bootstrap resamples (within quadrants) for the default estimator.
        recipe: of the published fit.

    Returns:
        ProbeSets, three probes per set in the order of CONCEPTS.

    Raises:
        MeasurementError: activations that are not finite, or too few texts to fit on.

    Two concepts, an axis each: every probe reads its own.

    >>> quadrants = Quadrants(np.arange(40) % 4 > 1, np.arange(40) % 2 > 0)
    >>> x = np.stack([quadrants.intended, quadrants.spurious], axis=1) * 2.0 - 1
    >>> intended, spurious, confounded = fit_probes("task", x, quadrants, 0, fits=1).fits[0].weight
    >>> bool(intended[0] > 10 * abs(intended[1])), bool(spurious[1] > 10 * abs(spurious[0]))
    (True, True)
    >>> bool(abs(confounded[0] - confounded[1]) < 0.01)
    True
    """
    labels = np.stack([quadrants.intended, quadrants.spurious, quadrants.intended])
    agree = quadrants.intended == quadrants.spurious
    used = np.stack([np.ones_like(agree), np.ones_like(agree), agree])
    published = fit_published(
        x,
        labels,
        [np.flatnonzero(row) for row in used],
        [generator(seed, "scr", task, name) for name in CONCEPTS],
        recipe,
    )
    weights = _fit_weights(task, quadrants, seed, fits)[:, None] * used
    together = fit_logistic(x, np.tile(labels, (fits, 1)), weights.reshape(-1, len(x)))
    counts = resamples(task, quadrants, seed, fits)[:REDRAWN]
    redrawn = _redrawn(task, x, labels, used, seed, counts, recipe)
    return ProbeSets(published, together.split(len(CONCEPTS)), redrawn)


def _redrawn(
    task: str,
    x: NDArray[np.floating],
    labels: Bools,
    used: Bools,
    seed: int,
    counts: Floats,
    recipe: ProbeRecipe,
) -> tuple[Redrawn, ...]:
    """Fit by the published recipe on resampled texts; labels and used: (probe, text)."""
    texts, rngs = list[Indices](), list[np.random.Generator]()
    for place, drawn in enumerate(counts):
        rows = np.repeat(np.arange(len(x)), drawn.astype(np.int64))
        texts += [rows[row[rows]] for row in used]
        rngs += [generator(seed, "scr", task, "redrawn", str(place), name) for name in CONCEPTS]
    return fit_redrawn(x, labels, texts, rngs, counts, recipe)


def refit(
    task: str, x: NDArray[np.floating], quadrants: Quadrants, seed: int, fits: int
) -> LinearProbes:
    """Fit the confounded probes of `fit_probes` again on changed activations of the same texts.

    Args:
        task: its name.
        x: (text, d) what became of the training texts' pooled activations.
        quadrants: their labels.
        seed: the run's.
        fits: the same bootstrap resamples as in `fit_probes`.

    Returns:
        One probe per fit.

    Raises:
        MeasurementError: activations that are not finite.

    Without the spurious axis the probe has only the intended one to lean on:

    >>> quadrants = Quadrants(np.arange(40) % 4 > 1, np.arange(40) % 2 > 0)
    >>> x = np.stack([quadrants.intended, np.zeros(40)], axis=1) * 2.0 - 1
    >>> weight = refit("task", x, quadrants, seed=0, fits=2).weight
    >>> weight.shape, bool((weight[:, 0] > 1).all()), bool((weight[:, 1] == 0).all())
    ((2, 2), True, True)
    """
    agree = quadrants.intended == quadrants.spurious
    labels = np.tile(quadrants.intended, (fits, 1))
    return fit_logistic(x, labels, _fit_weights(task, quadrants, seed, fits) * agree)


def resamples(task: str, quadrants: Quadrants, seed: int, fits: int) -> Floats:
    """Return how often each training text was drawn for each fit, (fit, text).

    Args:
        task: its name, part of what seeds the draws.
        quadrants: labels of the training texts; texts are drawn within their quadrant.
        seed: the run's.
        fits: how many fits.

    Returns:
        Whole numbers; in each row those of a quadrant sum to its number of texts.

    >>> quadrants = Quadrants(np.arange(8) % 4 > 1, np.arange(8) % 2 > 0)
    >>> resamples("task", quadrants, seed=0, fits=3).sum(1).tolist()
    [8.0, 8.0, 8.0]
    """
    cells = quadrants.cells
    return resample(len(cells), generator(seed, "scr", task, "fits"), cells, fits).counts


def _fit_weights(task: str, quadrants: Quadrants, seed: int, fits: int) -> Floats:
    """(fit, text): how much each training text counts in each resample."""
    return resamples(task, quadrants, seed, fits) * equal_cells(quadrants.cells)


@dataclass(frozen=True)
class DirectionLogits:
    """What the probes of one direction say about the test texts, as logits.

    Args:
        own: (fit, text) of the probe fitted for the concept that is read.
        confounded: (fit, text) of the confounded probe.
        ablated: (n, fit, text) of the confounded probe after ablation.
        latents: (fit,) how many latents there were to ablate, at most max(ns).
    """

    own: Floats
    confounded: Floats
    ablated: Floats
    latents: NDArray[np.int64]


@dataclass(frozen=True)
class ScrTask:
    """One task read through one dictionary: everything the estimates need.

    Args:
        name: of the task.
        ns: numbers of ablated latents.
        test: labels of the test texts.
        published: per direction, with the published probes (one fit).
        fits: per direction, with the resampled ones.
        redrawn: as `published`, by each fit of the published recipe on other training texts.
    """

    name: str
    ns: tuple[int, ...]
    test: Quadrants
    published: Mapping[Concept, DirectionLogits]
    fits: Mapping[Concept, DirectionLogits]
    redrawn: tuple[Mapping[Concept, DirectionLogits], ...] = ()


def score_task(
    task: str,
    probes: ProbeSets,
    train: Quadrants,
    z_train: sparse.csr_array,
    test: Quadrants,
    x_test: NDArray[np.floating],
    decoder: Rows,
    removal: Removal,
    ns: Sequence[int] = NS,
) -> ScrTask:
    """Read one task's probes after ablation; clean and ablated values share texts and probes.

    Latents are ranked by `|mean_pos z̄_j - mean_neg z̄_j| |w_c . d_j|` on the training texts.

    Args:
        task: its name.
        probes: from `fit_probes`.
        train: labels of the training texts.
        z_train: (text, d_sae) their pooled latents.
        test: labels of the test texts.
        x_test: (text, d) their pooled activations, at the site that the dictionary writes to.
        decoder: (d_sae, d) rows for the ranking.
        removal: `AffineRemoval(z_test, decoder)`, or a `MeasuredRemoval`.
        ns: ascending numbers of latents.

    Returns:
        The logits of all probes on the test texts, untouched and after each ablation.

    Source: Karvonen et al. 2024 (arXiv 2411.18895).

    Latent 0 writes the intended concept and latent 1 the spurious one, on which the confounded
    probe leans. Ablating the latter leaves a probe that reads the intended label:

    >>> from pytest_sae.metrics.ablation import AffineRemoval
    >>> labels = Quadrants(np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool))
    >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> weight = np.array([[1, 0], [0, 1], [1, 2]], np.float32)
    >>> probes = LinearProbes(weight, np.full(3, -0.5, np.float32))
    >>> z, rows = sparse.csr_array(x), np.eye(2)
    >>> sets = ProbeSets(probes, (probes,))
    >>> task = score_task("t", sets, labels, z, labels, x, rows, AffineRemoval(z, rows), ns=(1,))
    >>> task.fits["spurious"].confounded.tolist(), task.fits["spurious"].ablated.tolist()
    ([[-0.5, 1.5, 0.5, 2.5]], [[[-0.5, -0.5, 0.5, 0.5]]])
    """
    orders = _orders(probes, train, z_train, decoder, max(ns))
    published, *readings = [
        _read(each, x_test, latents, removal, ns)
        for each, latents in zip(probes.every, orders, strict=True)
    ]
    redrawn, readings = readings[: len(probes.redrawn)], readings[len(probes.redrawn) :]
    fits = {
        direction: _stack([reading[direction] for reading in readings]) for direction in DIRECTIONS
    }
    return ScrTask(task, tuple(ns), test, published, fits, tuple(redrawn))


def _orders(
    probes: ProbeSets,
    train: Quadrants,
    z_train: sparse.csr_array,
    decoder: Rows,
    most: int,
) -> list[list[Indices]]:
    """Per set of probes and direction, the latents by effect."""
    adds = written(decoder, np.concatenate([each.weight[:2] for each in probes.every]))
    as_drawn = _contrasts(train, z_train, np.ones(len(train.cells)))
    redrawn = [_contrasts(train, z_train, each.counts) for each in probes.redrawn]
    return [
        [
            order(contrast * np.abs(adds[:, 2 * place + CONCEPTS.index(concept)]), most)
            for concept, contrast in zip(DIRECTIONS, contrasts, strict=True)
        ]
        for place, contrasts in enumerate([as_drawn, *redrawn, *([as_drawn] * len(probes.fits))])
    ]


def _contrasts(train: Quadrants, z: sparse.csr_array, counts: Floats) -> list[Floats]:
    """Per direction, how far every latent tells its concept's values apart."""
    return [
        np.abs(mean_difference(z, label * counts, ~label * counts))
        for label in (train.label(concept) for concept in DIRECTIONS)
    ]


def _read(
    probes: LinearProbes,
    x: NDArray[np.floating],
    orders: list[Indices],
    removal: Removal,
    ns: Sequence[int],
) -> dict[Concept, DirectionLogits]:
    """Read one set of three probes in both directions, as readings of a single fit."""
    logits = probes.logits(x)
    confounded = logits[2:]
    removed = removal.logits(orders, ns, probes.weight[2:])[..., 0]
    return {
        direction: DirectionLogits(
            logits[None, CONCEPTS.index(READ[direction])],
            confounded,
            (confounded - removed[place])[:, None],
            np.array([len(orders[place])]),
        )
        for place, direction in enumerate(DIRECTIONS)
    }


def _stack(readings: list[DirectionLogits]) -> DirectionLogits:
    return DirectionLogits(
        np.concatenate([reading.own for reading in readings]),
        np.concatenate([reading.confounded for reading in readings]),
        np.concatenate([reading.ablated for reading in readings], axis=1),
        np.concatenate([reading.latents for reading in readings]),
    )
