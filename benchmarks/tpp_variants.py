"""TPP with one part of its definition changed at a time, to find the part that is to blame.

    measure(latents, tasks, seed, fits) -> list[Estimate]          # a family for `gather`

Every variant reads the margin of the same probes on the same texts as `tpp.margin` and differs in
which latents it ablates:

- `as defined`: the n largest positive `(mean difference) (w.d)`;
- `certain`: all of these whose mean difference is more than CERTAIN of its standard errors; no n;
- `own`: those of `certain` that move the class' own probe more than any other class' probe;
- `best one`: the single latent with the largest effect.
"""

from __future__ import annotations

import numpy as np

from benchmarks.scr_variants import CERTAIN, standard_errors
from pytest_sae.activations.latents import Latents
from pytest_sae.data.tasks import ClassTask, Tasks
from pytest_sae.measure.scr_and_tpp import PooledTask, erasure_texts, tpp_probes
from pytest_sae.metrics.ablation import Indices, mean_difference, order, written
from pytest_sae.metrics.class_probes import balanced, one_versus_rest
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.numbers.estimate import Estimate, undefined
from pytest_sae.probes import LinearProbes

_DEFINED = (5, 20, 50)  # the n of `as defined` that are told


def measure(latents: Latents, tasks: Tasks, seed: int, fits: int) -> list[Estimate]:
    """Return every variant, as ratios of sums over tasks, classes and fits.

    Args:
        latents: of the dictionary.
        tasks: with TPP tasks.
        seed: the run's.
        fits: probe fits.
    """
    gains: dict[str, float] = {}
    achievable = 0.0
    texts = erasure_texts(tasks)
    for task in tasks.tpp:
        view = PooledTask.of(latents, texts, task.train.texts, task.test.texts)
        reading = _Reading(view, task)
        for probes in tpp_probes(latents, view, task, seed, fits).fits:
            achievable += reading.clean(probes)
            for name, sets in reading.sets(probes).items():
                gains[name] = gains.get(name, 0.0) + reading.gain(probes, sets)
    if achievable <= 0:
        reason = "the probes are no better than chance: there is nothing to lose"
        return [undefined(f"tpp.margin, {name}", reason) for name in gains]
    return [Estimate(f"tpp.margin, {name}", gain / achievable) for name, gain in gains.items()]


class _Reading:
    """One task: which latents stand for a class, and what their ablation costs every probe."""

    def __init__(self, view: PooledTask, task: ClassTask) -> None:
        self._view = view
        train, test = np.array(task.train.labels), np.array(task.test.labels)
        classes = len(task.classes)
        self._targets = one_versus_rest(test, classes)
        self._weights = balanced(test, classes)
        belongs = one_versus_rest(train, classes)
        # Classes have the same size: the others' mean gives each of them the same share.
        self._differences = np.stack([mean_difference(view.z_train, own, ~own) for own in belongs])
        errors = np.stack([standard_errors(view.z_train, own) for own in belongs])
        self._certain = np.abs(self._differences) > CERTAIN * errors

    def sets(self, probes: LinearProbes) -> dict[str, list[Indices]]:
        """Return the latents of each class, for every variant."""
        adds = written(self._view.rows, probes.weight).T
        moved = np.maximum(self._differences, 0)[:, None] * adds  # (class, probe, latent)
        own = np.einsum("cck->ck", moved)
        others = np.abs(moved)
        others[np.arange(len(own)), np.arange(len(own))] = 0
        certain = np.where(self._certain, own, 0)
        alone = np.where(own > others.max(1), certain, 0)
        found = {f"as defined n={n}": [order(row, n) for row in own] for n in _DEFINED}
        return found | {
            "certain": [order(row, len(row)) for row in certain],
            "own": [order(row, len(row)) for row in alone],
            "best one": [order(row, 1) for row in own],
        }

    def clean(self, probes: LinearProbes) -> float:
        """Return the mean clean margin of the classes."""
        return float((probes.logits(self._view.x_test) * self._scale(probes)).sum(1).mean())

    def gain(self, probes: LinearProbes, sets: list[Indices]) -> float:
        """Return what ablating a class costs its own probe, less what it costs the others."""
        most = [max(1, max(map(len, sets)))]
        removed = self._view.removal.logits(sets, most, probes.weight)[:, 0]  # (class, text, probe)
        losses: Floats = np.einsum("ctp,pt->cp", removed, self._scale(probes))
        own = np.trace(losses)
        return float((own - (losses.sum() - own) / (len(losses) - 1)) / len(losses))

    def _scale(self, probes: LinearProbes) -> Floats:
        """(probe, text): turns logits into shares of margins in units of their clean spread."""
        signs = np.where(self._targets, 1.0, -1.0)
        clean = signs * probes.logits(self._view.x_test)
        mean = (clean * self._weights).sum(1, keepdims=True)
        spread = np.sqrt((np.square(clean - mean) * self._weights).sum(1, keepdims=True))
        scale: Floats = self._weights * signs / np.where(spread > 0, spread, 1.0)
        return scale
