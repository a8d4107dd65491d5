"""Definitions of concept metrics held side by side, as pure functions of pooled activations.

    definitions(tasks, code) -> {"sharp n = 5 pairs": 0.4, "tpp.margin n=5": ..., ...}

A task is a pair of labels or of several classes; `code` is what a dictionary makes of it. Every
definition is higher for better. Which is which stands in docs/audit.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pytest_sae.metrics import (
    class_probes,
    frontier,
    frontier_estimates,
    removal,
    scr,
    tpp,
)
from pytest_sae.metrics.ablation import AffineRemoval
from pytest_sae.metrics.frontier_texts import (
    ErasedConcept,
    ProbedLabel,
    TaskTexts,
    pairs,
    two_labels,
)
from pytest_sae.metrics.probe_bootstrap import equal_cells
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.numbers.keys import metric_key
from pytest_sae.probes import LinearProbes, ProbeSets, fit_logistic

NS = (1, 2, 3, 4, 5, 8, 10, 20)
CHOSEN = (2, 4, 8, 20)
SMALL = (1, 2, 3, 5)
_FITS = 1
_ERASURES = 1  # tasks of each kind that `erasure` is read on: it takes the longest


#: Discriminants of all texts, and of all but those of each fold.
Fits = tuple[Floats, Floats, Floats]
Others = Sequence[tuple[Floats, ProbedLabel]]


@dataclass(frozen=True)
class Task:
    """Pooled texts with labels: (2, text) bool of a pair, (text,) class indices of a multi."""

    name: str
    x_train: Floats
    x_test: Floats
    train: NDArray[Any]
    test: NDArray[Any]

    @property
    def is_pair(self) -> bool:
        """Whether it has two labels."""
        return self.train.ndim == 2

    @cached_property
    def cells(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Quadrant or class of the training and of the test texts."""
        if not self.is_pair:
            return self.train.astype(np.int64), self.test.astype(np.int64)
        train, test = (2 * each[0].astype(np.int64) + each[1] for each in (self.train, self.test))
        return train, test

    @cached_property
    def concepts(self) -> tuple[ErasedConcept, ...]:
        """What is erased, and what must stay."""
        if self.is_pair:
            return two_labels(("one", "two"), self.train > 0, self.test > 0)
        names = [str(c) for c in range(int(self.train.max()) + 1)]
        return pairs(names, *self.cells)

    @cached_property
    def folds(self) -> NDArray[np.int64]:
        """(text,) of the training texts, every other one of a cell."""
        return _folds(self.cells[0])

    def untouched(self, concept: ErasedConcept, ridge: float) -> tuple[Fits, Others, Floats]:
        """The concept's discriminants, the others' and what they read before any ablation."""
        key = concept.name, ridge
        if key not in self._untouched:
            own = _discriminants(self.x_train, concept.own.train, self.folds, ridge)
            others = [(_discriminants(self.x_train, e.train, self.folds, 0.01)[0], e)
                      for e in concept.others.values()]  # fmt: skip
            read = _read(self, concept, own, others, self.x_train, self.x_test)
            self._untouched[key] = own, others, read
        return self._untouched[key]

    @cached_property
    def _untouched(self) -> dict[tuple[str, float], tuple[Fits, Others, Floats]]:
        return {}

    @cached_property
    def probes(self) -> LinearProbes:
        """Logistic ones: of a pair intended, spurious, confounded; of a multi one per class."""
        cells = self.cells[0]
        share = equal_cells(cells)
        if not self.is_pair:
            count = int(cells.max()) + 1
            targets = class_probes.one_versus_rest(cells, count)
            return fit_logistic(self.x_train, targets, class_probes.balanced(cells, count))
        one, two = self.train > 0
        used = np.stack([share, share, share * (one == two)])
        return fit_logistic(self.x_train, np.stack([one, two, one]), used)

    @cached_property
    def texts(self) -> TaskTexts:
        """As `erasure` takes it."""
        rng = np.random.default_rng(0)
        count = len(self.cells[0])
        drawn = [
            np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(_FITS)
        ]
        weight = self.probes.weight[:2] if self.is_pair else self.probes.weight
        return TaskTexts(
            self.name, self.concepts, *self.cells, self.x_train, self.x_test,
            np.stack([weight] * _FITS), np.array(drawn, np.float64),
        )  # fmt: skip

    @cached_property
    def references(self) -> frontier.References:
        """LEACE and the like."""
        return frontier.references(self.texts)


@dataclass(frozen=True)
class Code:
    """What a dictionary makes of the tasks.

    Args:
        z: by task, (text, d_sae) pooled latents of the training and of the test texts.
        rows: (d_sae, d).
        factor: least squares of the activations on what is written.
    """

    z: Mapping[str, tuple[Floats, Floats]]
    rows: Floats
    factor: float


def definitions(tasks: Sequence[Task], code: Code, erasure: bool = True) -> dict[str, float]:
    """Return every definition's value."""
    found: dict[str, float] = {}
    for (reading, kind), curves in read_curves(tasks, code).items():
        found |= {f"{reading} {name} {kind}": value for name, value in valued(curves).items()}
    found |= _tpp([task for task in tasks if not task.is_pair], code)
    found |= _scr([task for task in tasks if task.is_pair], code)
    if erasure:
        found |= _erasure(tasks, code)
    return found


def read_curves(tasks: Sequence[Task], code: Code) -> dict[tuple[str, str], list[Curve]]:
    """Return the refit frontier's curves: by how probes are fitted again, and kind of task."""
    return {
        (reading, kind): [
            _curve(task, concept, *code.z[task.name], code.rows, ridge)
            for task in tasks
            if task.is_pair == (kind == "pairs")
            for concept in task.concepts
        ]
        for reading, ridge in (("sharp", 0.01), ("noisy", 1.0))
        for kind in ("pairs", "multis")
    }


# The refit frontier -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """Removal and collateral at every n, on test and on the training folds that are held out."""

    test: Floats  # (n, 2)
    known: Floats  # (n, 2)


#: Numbers of latents over which a value is the mean.
FIXED = {"n = 2": (2,), "n = 5": (5,), "n = 1, 2, 3, 5": SMALL, "n = 5, 10, 20": (5, 10, 20)}


def valued(curves: Sequence[Curve]) -> dict[str, float]:
    """Return what becomes of the curves, means over concepts."""
    chosen = [NS.index(n) for n in CHOSEN]
    rows: dict[str, list[float]] = {}
    for curve in curves:
        gain, known = curve.test[:, 0] - curve.test[:, 1], curve.known[:, 0] - curve.known[:, 1]
        best = chosen[int(np.argmax(known[chosen]))]
        cheap = [n for n in range(len(NS)) if curve.known[n, 1] <= 0.1]
        told = {name: float(gain[[NS.index(n) for n in ns]].mean()) for name, ns in FIXED.items()}
        told["n chosen"] = max(0.0, float(gain[best]))
        told["removal at a collateral of 0.1"] = max((curve.test[n, 0] for n in cheap), default=0.0)
        told["removal alone, n = 5"] = float(curve.test[NS.index(5), 0])
        for name, value in told.items():
            rows.setdefault(name, []).append(float(value))
    return {name: float(np.mean(values)) for name, values in rows.items()}


def _curve(
    task: Task, concept: ErasedConcept, z_train: Floats, z_test: Floats, rows: Floats, ridge: float
) -> Curve:
    own, folds = concept.own.train, task.folds
    full, others, clean = task.untouched(concept, ridge)
    up, down = (_balanced_mean(z_train, task.cells[0], own == label) for label in (1, 0))
    effect = (up - down) * (rows @ full[0])
    ranked = np.argsort(-effect, kind="stable")[: max(NS)]
    ranked = ranked[effect[ranked] > 0]
    points = []
    for n in NS:
        train = task.x_train - z_train[:, ranked[:n]] @ rows[ranked[:n]]
        test = task.x_test - z_test[:, ranked[:n]] @ rows[ranked[:n]]
        again = _discriminants(train, own, folds, ridge)
        points.append(_read(task, concept, again, others, train, test))
    values = np.array(points)  # (n, where, own/others)
    share = (clean - values) / np.maximum(clean - 0.5, 0.02)
    return Curve(share[:, 0], share[:, 1])


def _read(
    task: Task, concept: ErasedConcept, own: Fits, others: Others, train: Floats, test: Floats
) -> Floats:
    """[[own on test, others on test], [own on held-out folds, others on train]]."""
    folds = task.folds
    on_test = _auc(test @ own[0], concept.own.test)
    known = np.mean([
        _auc(train[folds == f] @ own[1 + f], concept.own.train[folds == f]) for f in (0, 1)
    ])  # fmt: skip
    kept = np.mean([_auc(test @ w, each.test) for w, each in others])
    kept_known = np.mean([_auc(train @ w, each.train) for w, each in others])
    return np.array([[on_test, kept], [known, kept_known]])


def _folds(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """(text,) every other text of a cell."""
    fold = np.zeros(len(cells), np.int64)
    for cell in np.unique(cells):
        where = np.flatnonzero(cells == cell)
        fold[where[1::2]] = 1
    return fold


def _discriminants(x: Floats, label: NDArray[Any], folds: NDArray[np.int64], ridge: float) -> Fits:
    """Of all texts, and of all but those of each fold."""
    sums = {}
    for fold in (0, 1):
        for side in (0, 1):
            part = x[(folds == fold) & (label == side)]
            sums[fold, side] = (len(part), part.sum(0), part.T @ part)
    found = []
    for used in ((0, 1), (1,), (0,)):
        means, scatter, count = [], np.zeros((x.shape[1], x.shape[1])), 0
        for side in (0, 1):
            n = sum(sums[f, side][0] for f in used)
            mean = sum(sums[f, side][1] for f in used) / n
            scatter += sum(sums[f, side][2] for f in used) - n * np.outer(mean, mean)
            count += n
            means.append(mean)
        covariance = scatter / count
        covariance.flat[:: len(covariance) + 1] += ridge * np.trace(covariance) / len(covariance)
        found.append(np.linalg.solve(covariance, means[1] - means[0]))
    return found[0], found[1], found[2]


def _balanced_mean(z: Floats, cells: NDArray[np.int64], used: NDArray[np.bool_]) -> Floats:
    means = [z[used & (cells == c)].mean(0) for c in np.unique(cells[used])]
    result: Floats = np.mean(means, axis=0)
    return result


def _auc(scores: Floats, label: NDArray[np.integer]) -> float:
    """Of continuous scores: ties, which are rounding here, are not halved."""
    used = label >= 0
    up = label[used] > 0
    places = np.flatnonzero(up[np.argsort(scores[used])])
    p, n = len(places), int((~up).sum())
    return float((places.sum() - p * (p - 1) / 2) / (p * n))


# What there is ------------------------------------------------------------------------------------


def _tpp(tasks: Sequence[Task], code: Code) -> dict[str, float]:
    ns = (1, 2, 3, 5, 20)
    gains, achievable = np.zeros(len(ns)), 0.0
    for task in tasks:
        z_train, z_test = (sparse.csr_array(each) for each in code.z[task.name])
        sets = ProbeSets(task.probes, (task.probes,))
        names = [str(c) for c in range(len(task.probes.weight))]
        read = tpp.score_task(
            task.name, names, sets, task.cells[0], z_train, task.cells[1], task.x_test, code.rows,
            AffineRemoval(z_test, code.rows), 0, ns,
        ).effects["margin"]  # fmt: skip
        gains += (read.intended - read.unintended).sum((1, 2))
        achievable += float(read.achievable.sum())
    margins = dict(zip(ns, gains / achievable, strict=True))
    capped, found = min(1.0, code.factor), {}
    for n in (2, 5, 20):
        found[f"tpp.margin n={n}"] = float(margins[n])
        found[f"tpp.rescaled n={n}"] = float(margins[n] * code.factor)
        found[f"tpp.capped n={n}"] = float(margins[n] * capped)
    small = float(np.mean([margins[n] for n in SMALL]))
    return found | {"tpp.rescaled small": small * code.factor, "tpp.capped small": small * capped}


def _scr(tasks: Sequence[Task], code: Code) -> dict[str, float]:
    ns = (1, 2, 3, 5, 20)
    won, gap = np.zeros(len(ns)), 0.0
    for task in tasks:
        z_train, z_test = (sparse.csr_array(each) for each in code.z[task.name])
        sets = ProbeSets(task.probes, (task.probes,))
        train, test = (scr.Quadrants(*(each > 0)) for each in (task.train, task.test))
        read = scr.score_task(
            task.name, sets, train, z_train, test, task.x_test, code.rows,
            AffineRemoval(z_test, code.rows), ns,
        )  # fmt: skip
        for direction, logits in read.fits.items():
            label = 2.0 * test.label(scr.READ[direction]) - 1
            before, own = (float(np.corrcoef(label, each[0])[0, 1])
                           for each in (logits.confounded, logits.own))  # fmt: skip
            after = [np.corrcoef(label, each[0])[0, 1] for each in logits.ablated]
            won += np.nan_to_num(np.array(after)) - before
            gap += own - before
    values = dict(zip(ns, won / gap, strict=True))
    small = float(np.mean([values[n] for n in SMALL]))
    return {f"scr.margin n={n}": float(values[n]) for n in (2, 5, 20)} | {"scr.margin small": small}


def _erasure(tasks: Sequence[Task], code: Code) -> dict[str, float]:
    """As they are measured in a run: `erasure`, and `removal` on the same few tasks."""
    areas: dict[str, list[frontier.Frontier]] = {"scr": [], "tpp": []}
    few: dict[str, list[removal.Removed]] = {"scr": [], "tpp": []}
    for kind, pair in (("scr", True), ("tpp", False)):
        for task in [each for each in tasks if each.is_pair == pair][:_ERASURES]:
            z_train, z_test = (sparse.csr_array(each) for each in code.z[task.name])
            both = (AffineRemoval(z, code.rows) for z in (z_train, z_test))
            ablation = frontier.Ablation(z_train, code.rows, *both)
            areas[kind] += frontier.trace(task.texts, task.references, ablation, 0)
            few[kind] += removal.trace(task.texts, task.references, ablation)
    read = [*frontier_estimates.estimates(areas, 0), *removal.estimates(few, 0)]
    return {metric_key(each.metric, each.params): each.value or 0.0 for each in read}
