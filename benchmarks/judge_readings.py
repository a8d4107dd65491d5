"""Tasks of a world read through a dictionary as SHIFT reads them, for any choice of latents.

    read(world, code, texts) -> Read              # its tasks, and what its latents are about
    picked(readings, opinions) -> sets            # what a judge accepts
    values(readings, sets), refit_gain(readings, sets)      # SHIFT's figures over the tasks
    refit_ranked(reading) -> Candidates           # by what a probe fitted again no longer finds

The figures are written out here once more, without draws; a test holds them to those of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.concept_panels import Code
from benchmarks.concept_worlds import KindWorld, Labelled
from benchmarks.judge_errors import Ratings, true_ratings
from pytest_sae.metrics import scr
from pytest_sae.metrics.ablation import AffineRemoval, Bools, Indices, order
from pytest_sae.metrics.auc import rank_auc
from pytest_sae.metrics.probe_bootstrap import equal_cells
from pytest_sae.metrics.scr import Concept, Quadrants
from pytest_sae.metrics.shift import HEADLINE_N, Classifier, TaskData
from pytest_sae.metrics.shift_selection import Candidates, Opinion, accepted, candidates
from pytest_sae.numbers.bootstrap import Floats

FITS = 3
POOL = 60  # latents that are ranked by what a probe fitted again no longer finds
NOTHING: Indices = np.zeros(0, np.int64)
_TOKENS = 12_000


@dataclass(frozen=True)
class Reading:
    """One task read through one dictionary; every set of latents is ablated once.

    Args:
        data: of the task.
        candidates: that a judge is asked about.
        about: names of the task's concepts.
    """

    data: TaskData
    candidates: Candidates
    about: Mapping[Concept, str]

    def ablated(self, latents: Indices) -> tuple[Floats, Floats]:
        """Return (text, d) of the training and of the test texts, once these are ablated."""
        data = self.data
        train, test = (each.means([latents])[0] for each in (data.removal_train, data.removal_test))
        return data.x_train - train, data.x_test - test

    def logits(self, latents: Indices) -> dict[Classifier, Floats]:
        """Return (fit, text) of the test texts by the probe as it is, and recentred."""
        data, probes = self.data, self.data.confounded
        train, test = self.ablated(latents)
        seen = data.train.intended == data.train.spurious
        moved = (probes.logits(train[seen]) - probes.logits(data.x_train[seen])).mean(1)
        plain = probes.logits(test)
        return {"plain": plain, "recentred": plain - moved[:, None]}

    def refit(self, latents: Indices) -> Floats:
        """Return (fit, text) of the test texts by the probe fitted again."""
        key = frozenset(map(int, latents))
        if key not in self._refits:
            train, test = self.ablated(latents)
            again = scr.refit(self.data.name, train, self.data.train, 0, len(self.own))
            self._refits[key] = again.logits(test)
        return self._refits[key]

    @cached_property
    def _refits(self) -> dict[frozenset[int], Floats]:
        return {}

    @cached_property
    def own(self) -> Floats:
        """(fit, text) of the intended concept's own probes."""
        return np.stack([fit.logits(self.data.x_test)[0] for fit in self.data.probes.fits])


def margin(logits: Floats, test: Quadrants) -> float:
    """Correlation of logit and intended label, cells weighing the same; the mean over fits."""
    label, weights = 2.0 * test.intended - 1, equal_cells(test.cells)
    return float(np.mean([_correlation(row, label, weights) for row in logits]))


def _correlation(one: NDArray[np.floating], other: NDArray[np.floating], weights: Floats) -> float:
    covariance = np.cov(one, other, aweights=weights, ddof=0)
    spread = np.sqrt(covariance[0, 0] * covariance[1, 1])
    return float(covariance[0, 1] / spread) if spread > 0 else 0.0


def accuracies(logits: Floats, test: Quadrants) -> Floats:
    """(fit, cell): share of the texts of a cell whose intended label is read."""
    right = (logits > 0) == test.intended
    return np.stack([right[:, test.cells == cell].mean(1) for cell in range(4)], axis=1)


def values(readings: Sequence[Reading], sets: Sequence[Indices]) -> dict[str, float]:
    """Return SHIFT's figures over tasks, without those of a probe that is fitted again.

    Args:
        readings: of the tasks.
        sets: per task, the latents that are ablated.
    """
    gains, gaps, cells = np.zeros(2), np.zeros(2), []
    for reading, latents in zip(readings, sets, strict=True):
        test = reading.data.test
        before, after = reading.logits(NOTHING)["plain"], reading.logits(latents)
        gains += _read(after["plain"], test) - _read(before, test)
        gaps += _read(reading.own, test) - _read(before, test)
        cells.append([worst(each, test) - worst(before, test) for each in after.values()])
    plain, recentred = np.mean(cells, axis=0)
    return {
        "shift.margin": float(gains[0] / gaps[0]),
        "shift": float(gains[1] / gaps[1]),
        "shift.worst_cell": float(plain),
        "shift.worst_cell.recentred": float(recentred),
    }


def _read(logits: Floats, test: Quadrants) -> Floats:
    return np.array([margin(logits, test), accuracies(logits, test).mean()])


def worst(logits: Floats, test: Quadrants) -> float:
    """Accuracy on the intended label in the worst cell; the mean over fits."""
    return float(accuracies(logits, test).min(1).mean())


def refit_gain(readings: Sequence[Reading], sets: Sequence[Indices]) -> float:
    """Return `shift.worst_cell.refit`."""
    gains = [
        worst(each.refit(latents), each.data.test)
        - worst(each.logits(NOTHING)["plain"], each.data.test)
        for each, latents in zip(readings, sets, strict=True)
    ]
    return float(np.mean(gains))


def picked(
    readings: Sequence[Reading], said: Mapping[int, Opinion], n: int = HEADLINE_N
) -> list[Indices]:
    """Return per task those of the top n that a judge accepts for the spurious concept."""
    return [accepted(each.candidates.orders["spurious"][:n], said, each.about) for each in readings]


def names_of(tasks: int) -> list[str]:
    """Return the concepts' names, pairs beside each other."""
    return [f"{kind} {place}" for place in range(tasks) for kind in ("intended", "spurious")]


@dataclass(frozen=True)
class Read:
    """One dictionary of a world: its tasks, and what its latents are truly about.

    Args:
        readings: of the tasks, candidates by effect.
        ratings: (latent, concept).
    """

    readings: Sequence[Reading]
    ratings: Ratings

    @cached_property
    def by_refit(self) -> list[Reading]:
        """The same tasks, with candidates by what a probe fitted again no longer finds."""
        return [replace(each, candidates=refit_ranked(each)) for each in self.readings]


def read(world: KindWorld, code: Code, texts: Sequence[Labelled]) -> Read:
    """Read a world's tasks through a dictionary."""
    tokens = world.sample(_TOKENS, 3, "corpus")
    with torch.no_grad():
        z = tokens.features if code.name == "oracle" else code.encode(tokens.x)
    concepts = [concept for pair in world.pairs[: len(texts)] for concept in pair]
    fires = np.stack([(tokens.features[:, each] > 0).any(1).numpy() for each in concepts], axis=1)
    readings = [_reading(place, each, code) for place, each in enumerate(texts)]
    return Read(readings, true_ratings(z.numpy(), fires))


_PROBES: dict[bytes, Any] = {}  # of a task, whatever the dictionary


def _reading(place: int, texts: Labelled, code: Code) -> Reading:
    x, z = texts.tokens.mean(1).double().numpy(), code.pooled(texts)
    rows, cut = code.rows.double().numpy(), texts.train
    labels = np.asarray(texts.labels, np.bool_)
    train, test = Quadrants(*labels[:, :cut]), Quadrants(*labels[:, cut:])
    key = x.tobytes()
    if key not in _PROBES:
        _PROBES[key] = scr.fit_probes(texts.name, x[:cut], train, 0, FITS)
    probes = _PROBES[key]
    before, after = sparse.csr_array(z[:cut]), sparse.csr_array(z[cut:])
    data = TaskData(texts.name, probes, train, test, x[:cut], x[cut:],
                    AffineRemoval(before, rows), AffineRemoval(after, rows))  # fmt: skip
    about: dict[Concept, str] = {"intended": f"intended {place}", "spurious": f"spurious {place}"}
    return Reading(data, candidates(probes, train, before, rows), about)


def refit_ranked(reading: Reading) -> Candidates:
    """Rank latents by how much of the spurious concept a new probe loses, each ablated alone."""
    found, data = reading.candidates, reading.data
    pool = order(found.effects["spurious"], POOL)
    label = data.train.spurious
    half = np.arange(len(label)) % 2 > 0
    untouched = _found_again(data.x_train, label, half)
    losses = np.zeros_like(found.effects["spurious"])
    for latent in pool:
        left = data.x_train - data.removal_train.means([np.array([latent])])[0]
        losses[latent] = untouched - _found_again(left, label, half)
    ranked = pool[np.argsort(-losses[pool], kind="stable")][:HEADLINE_N]
    return Candidates({**found.orders, "spurious": ranked}, found.effects)


def _found_again(x: NDArray[np.floating], label: Bools, half: Bools) -> float:
    """AUC of a discriminant on the half of the texts that it was not fitted on."""
    known, up = x[~half], label[~half]
    means = [known[up == side].mean(0) for side in (False, True)]
    centred = known - np.where(up[:, None], means[1], means[0])
    covariance = centred.T @ centred / len(known)
    covariance.flat[:: len(covariance) + 1] += 0.01 * np.trace(covariance) / len(covariance)
    weight = np.linalg.solve(covariance, means[1] - means[0])
    return rank_auc((x[half] @ weight).astype(np.float64), label[half])
