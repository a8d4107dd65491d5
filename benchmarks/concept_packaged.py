"""What the package itself measures of a dictionary on the tasks of a world, as it does in a run.

    tasks = [RunTask(world.pair(0, (150, 100), seed), seed), ...]
    packaged(tasks, code, written(world, code), FAMILIES) -> {"tpp.rescaled:n=few": Estimate, ...}

`concept_definitions` has definitions that were tried, written for a bench; this has those that were
settled on, by the code that users run: its probes, resamples, sums over tasks and standard errors.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.concept_panels import Code
from benchmarks.concept_worlds import TOKENS, KindWorld, Labelled
from pytest_sae.metrics import (
    class_probes,
    frontier,
    frontier_estimates,
    removal,
    scr,
    scr_estimates,
    sparse_probing,
    sparse_probing_estimates,
    tpp,
    tpp_estimates,
)
from pytest_sae.metrics.ablation import AffineRemoval
from pytest_sae.metrics.frontier_texts import ErasedConcept, TaskTexts, pairs, two_labels
from pytest_sae.metrics.protocol import FITS
from pytest_sae.metrics.written_scale import ScaleSums, WrittenScale, finish
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.numbers.keys import metric_key
from pytest_sae.probes import PUBLISHED, ProbeRecipe, ProbeSets

FAMILIES = ("scr", "tpp", "removal")
_TOKENS = 12_000  # that the strength of what is written is measured on


@dataclass(frozen=True)
class RunTask:
    """A task's texts with all that is fitted on them before any dictionary is read.

    Args:
        texts: the task.
        seed: the run's.
        fits: resamples of the training texts.
        recipe: of the published probes.
    """

    texts: Labelled
    seed: int
    fits: int = FITS
    recipe: ProbeRecipe = PUBLISHED

    @property
    def is_pair(self) -> bool:
        """Whether it has two labels."""
        return self.texts.labels.ndim == 2

    @cached_property
    def x(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(text, d) pooled activations of the training and of the test texts."""
        return self.halves(self.texts.tokens.mean(1).numpy())

    def halves(self, rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return what belongs to the training texts, and to the test texts."""
        return rows[: self.texts.train], rows[self.texts.train :]

    @cached_property
    def quadrants(self) -> tuple[scr.Quadrants, scr.Quadrants]:
        """Of a pair."""
        both = self.halves(np.asarray(self.texts.labels, bool).T)
        return scr.Quadrants(*both[0].T), scr.Quadrants(*both[1].T)

    @cached_property
    def cells(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Quadrant or class of the training and of the test texts."""
        if self.is_pair:
            return self.quadrants[0].cells, self.quadrants[1].cells
        return self.halves(self.texts.cells)

    @property
    def classes(self) -> list[str]:
        """Names of a multi's classes."""
        return [str(c) for c in range(int(self.texts.cells.max()) + 1)]

    @cached_property
    def probes(self) -> ProbeSets:
        """As a run fits them."""
        name, x = self.texts.name, self.x[0]
        if self.is_pair:
            return scr.fit_probes(name, x, self.quadrants[0], self.seed, self.fits, self.recipe)
        count = len(self.classes)
        return class_probes.fit_probes(
            name, x, self.cells[0], count, self.seed, self.fits, self.recipe
        )

    @cached_property
    def erased(self) -> TaskTexts:
        """As `removal` and `erasure` read it."""
        weights = np.stack([fit.weight for fit in self.probes.fits])
        counts = (
            scr.resamples(self.texts.name, self.quadrants[0], self.seed, self.fits)
            if self.is_pair
            else class_probes.resamples(self.texts.name, self.cells[0], self.seed, self.fits)
        )
        return TaskTexts(
            self.texts.name, self._concepts, *self.cells, *self.x,
            weights[:, :2] if self.is_pair else weights, counts,
        )  # fmt: skip

    @property
    def _concepts(self) -> tuple[ErasedConcept, ...]:
        if not self.is_pair:
            return pairs(self.classes, *self.cells)
        train, test = (np.stack([each.intended, each.spurious]) for each in self.quadrants)
        return two_labels(("one", "two"), train, test)

    @cached_property
    def references(self) -> frontier.References:
        """LEACE and the like."""
        return frontier.references(self.erased)


def packaged(
    tasks: Sequence[RunTask], code: Code, scale: WrittenScale, families: Collection[str] = FAMILIES
) -> dict[str, Estimate]:
    """Return every figure of the families by metric and setting.

    Args:
        tasks: of both kinds.
        code: the dictionary.
        scale: from `written`.
        families: `scr`, `tpp`, `removal`, `erasure`, `sparse_probing`.
    """
    read = [_Read.of(task, code) for task in tasks]
    ones = [each for each in read if each.task.is_pair]
    many = [each for each in read if not each.task.is_pair]
    seed, found = tasks[0].seed, list[Estimate]()
    if "scr" in families:
        found += scr_estimates.estimates([each.scr() for each in ones], seed)
    if "tpp" in families:
        found += tpp_estimates.estimates([each.tpp() for each in many], seed, scale=scale)
    if "removal" in families:
        found += removal.estimates({"scr": _removed(ones), "tpp": _removed(many)}, seed)
    if "erasure" in families:
        found += frontier_estimates.estimates({"scr": _areas(ones), "tpp": _areas(many)}, seed)
    if "sparse_probing" in families:
        found += sparse_probing_estimates.estimates([each.probed() for each in many], seed)
    return {metric_key(each.metric, each.params): each for each in found}


@dataclass(frozen=True)
class _Read:
    """One task as a dictionary reads it."""

    task: RunTask
    z: tuple[sparse.csr_array, sparse.csr_array]
    rows: Floats

    @classmethod
    def of(cls, task: RunTask, code: Code) -> _Read:
        train, test = (sparse.csr_array(z) for z in task.halves(code.pooled(task.texts)))
        return cls(task, (train, test), code.rows.double().numpy())

    @property
    def removal(self) -> tuple[AffineRemoval, AffineRemoval]:
        return AffineRemoval(self.z[0], self.rows), AffineRemoval(self.z[1], self.rows)

    @property
    def ablation(self) -> frontier.Ablation:
        return frontier.Ablation(self.z[0], self.rows, *self.removal)

    def scr(self) -> scr.ScrTask:
        task, (train, test) = self.task, self.task.quadrants
        return scr.score_task(
            task.texts.name, task.probes, train, self.z[0], test, task.x[1], self.rows,
            self.removal[1],
        )  # fmt: skip

    def tpp(self) -> tpp.TppTask:
        task, (train, test) = self.task, self.task.cells
        return tpp.score_task(
            task.texts.name, task.classes, task.probes, train, self.z[0], test, task.x[1],
            self.rows, self.removal[1], task.seed,
        )  # fmt: skip

    def probed(self) -> sparse_probing.ProbedDataset:
        task, count = self.task, len(self.task.classes)
        train, test = (
            sparse_probing.ProbedTexts(
                z, x, class_probes.one_versus_rest(cells, count),
                class_probes.balanced(cells, count), cells,
            )
            for z, x, cells in zip(self.z, task.x, task.cells, strict=True)
        )  # fmt: skip
        return sparse_probing.score_dataset(task.texts.name, task.classes, train, test)


def _removed(read: Sequence[_Read]) -> list[removal.Removed]:
    traces = (removal.trace(r.task.erased, r.task.references, r.ablation) for r in read)
    return [each for trace in traces for each in trace]


def _areas(read: Sequence[_Read]) -> list[frontier.Frontier]:
    traces = (
        frontier.trace(r.task.erased, r.task.references, r.ablation, r.task.seed) for r in read
    )
    return [each for trace in traces for each in trace]


def written(world: KindWorld, code: Code) -> WrittenScale:
    """Return how strongly a dictionary writes, as a run measures it on its corpus."""
    sample = world.sample(_TOKENS, 5, "truth")
    rows = torch.arange(len(sample.x)) // TOKENS
    sums = ScaleSums(int(rows.max()) + 1, world.spec.d)
    for x, features, place in _pieces(sample.x, sample.features, rows):
        with torch.no_grad():
            z = features if code.name == "oracle" else code.encode(x)
        sums.update(x, z @ code.rows, place)
    return finish(sums, 0)


def _pieces(*parts: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    yield from zip(*(part.split(3000) for part in parts), strict=True)
