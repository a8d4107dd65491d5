"""The erasure frontier of one dictionary, over the concepts of the SCR and TPP tasks.

measure(given) -> list[Estimate]
views(latents, tasks, seed, fits) -> {"scr": [FrontierTask, ...], "tpp": [FrontierTask, ...]}
too_few(tasks) -> {task: reason}
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pytest_sae.activations.latents import Latents
from pytest_sae.data.tasks import ClassTask, SpuriousTask, Tasks
from pytest_sae.measure import scr_and_tpp
from pytest_sae.measure.ablated_kl import ablated_kl, why_not
from pytest_sae.measure.given import Given
from pytest_sae.measure.without_words import MeansWithoutWords
from pytest_sae.metrics import class_probes, frontier_estimates, scr
from pytest_sae.metrics.frontier import Ablation, Frontier, References, references, trace
from pytest_sae.metrics.frontier_texts import Pair, TaskTexts, pairs, two_labels
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.probes import ProbeSets

VERSION = "1"  # part of the references' cache key: raise it when the same texts give others

#: Numbers of latents after which the model's output is compared.
KL_NS = (5, 50)

_FEWEST = 4
_FEW = "fewer than four classes: two are told apart, two others must stay told apart"


def measure(given: Given) -> list[Estimate]:
    """Return `erasure` over all tasks, over the [[scr]] and over the [[tpp]] tables.

    Args:
        given: to measure from.
    """
    latents, tasks, seed, fits = given.latents, given.tasks, given.seed, given.counts["fits"]
    frontiers = {
        group: [each for view in found for each in view.frontiers(latents, seed)]
        for group, found in views(latents, tasks, seed, fits).items()
    }
    everything = [each for group in frontiers.values() for each in group]
    kl = _kl(latents, everything, tasks, given.counts["spliced"])
    return frontier_estimates.estimates(frontiers, seed, kl, too_few(tasks))


def views(latents: Latents, tasks: Tasks, seed: int, fits: int) -> dict[str, list[FrontierTask]]:
    """Return every task that has a frontier as the dictionary reads it, by group of tasks.

    Args:
        latents: of the dictionary.
        tasks: data of the run.
        seed: the run's.
        fits: probe fits that the figures average over.
    """
    texts, deleted = scr_and_tpp.erasure_texts(tasks), MeansWithoutWords.of(latents, tasks)
    wide = [task for task in tasks.tpp if len(task.classes) >= _FEWEST]
    return {
        "scr": [
            FrontierTask.of_scr(latents, texts, task, seed, fits, deleted) for task in tasks.scr
        ],
        "tpp": [FrontierTask.of_tpp(latents, texts, task, seed, fits) for task in wide],
    }


def too_few(tasks: Tasks) -> dict[str, str]:
    """Return the tasks that have no frontier, with the reason."""
    return {f"tpp/{task.name}": _FEW for task in tasks.tpp if len(task.classes) < _FEWEST}


def _kl(
    latents: Latents, frontiers: Sequence[Frontier], tasks: Tasks, spliced: int
) -> dict[str, object]:
    """For the report, mean KL over the concepts after the first n latents of each."""
    reason = why_not(latents)
    if not reason and tasks.corpus is None:
        reason = tasks.unusable("corpus") or f"{tasks.source} has no [corpus] table"
    if reason or not frontiers or tasks.corpus is None:
        return {"not_applicable": reason} if reason else {}
    sets = [each.latents[:n] for each in frontiers for n in KL_NS]
    found = ablated_kl(latents, tasks.corpus.texts, spliced, sets)
    means = found.reshape(len(frontiers), len(KL_NS)).mean(0)
    return {
        "nats_per_token": {str(n): float(kl) for n, kl in zip(KL_NS, means, strict=True)},
        "texts": min(spliced, len(tasks.corpus.texts)),
    }


@dataclass(frozen=True)
class FrontierTask:
    """A task as the dictionary reads it.

    Args:
        key: what the references depend on, beside what they are read of.
        texts: the task.
        view: what was pooled of it.
        words: per concept, the texts without its words; empty if no concept names any.
    """

    key: Mapping[str, object]
    texts: TaskTexts
    view: scr_and_tpp.PooledTask
    words: Sequence[Pair | None] = ()

    @classmethod
    def of_scr(
        cls,
        latents: Latents,
        texts: Sequence[str],
        task: SpuriousTask,
        seed: int,
        fits: int,
        deleted: MeansWithoutWords,
    ) -> FrontierTask:
        """Return a [[scr]] table's view."""
        view = scr_and_tpp.PooledTask.of(latents, texts, task.train.texts, task.test.texts)
        train, test = scr_and_tpp.quadrants(task.train), scr_and_tpp.quadrants(task.test)
        probes = scr_and_tpp.scr_probes(latents, view, task, seed, fits)
        found = TaskTexts(
            f"scr/{task.name}",
            two_labels(
                (task.intended.name, task.spurious.name),
                np.stack([train.intended, train.spurious]),
                np.stack([test.intended, test.spurious]),
            ),
            train.cells,
            test.cells,
            view.x_train,
            view.x_test,
            _weights(probes)[:, :2],
            scr.resamples(task.name, train, seed, fits),
        )
        key = {"task": task.fingerprint, "seed": seed, "fits": fits}
        return cls(key, found, view, deleted.pairs(task))

    @classmethod
    def of_tpp(
        cls, latents: Latents, texts: Sequence[str], task: ClassTask, seed: int, fits: int
    ) -> FrontierTask:
        """Return a [[tpp]] table's view."""
        view = scr_and_tpp.PooledTask.of(latents, texts, task.train.texts, task.test.texts)
        train, test = scr_and_tpp.class_labels(task.train), scr_and_tpp.class_labels(task.test)
        probes = scr_and_tpp.tpp_probes(latents, view, task, seed, fits)
        found = TaskTexts(
            f"tpp/{task.name}",
            pairs(task.classes, train, test),
            train,
            test,
            view.x_train,
            view.x_test,
            _weights(probes),
            class_probes.resamples(task.name, train, seed, fits),
        )
        key = {"task": task.fingerprint, "seed": seed, "fits": fits}
        return cls(key, found, view)

    @property
    def ablation(self) -> Ablation:
        """The dictionary on the task's texts."""
        view = self.view
        return Ablation(view.z_train, view.rows, view.removal_train, view.removal)

    def frontiers(self, latents: Latents, seed: int) -> list[Frontier]:
        """Return one frontier per concept."""
        return trace(self.texts, self.references(latents), self.ablation, seed)

    def references(self, latents: Latents) -> References:
        """Return what is read without a dictionary, once per model, site, task and seed."""
        seen, texts = hashlib.sha256(), self.texts
        contrasts = [c for each in texts.concepts for c in (each.own, *each.others.values())]
        labels = [part for each in contrasts for part in (each.train, each.test)]
        for part in (texts.x_train, texts.x_test, texts.probes, *labels):
            seen.update(np.ascontiguousarray(part).tobytes())
        key = {"step": "erasure.references", "version": VERSION, "read": seen.hexdigest()}
        with latents.store.work.timed("probes"):
            tensors = latents.store.get({**key, **self.key}, self._read)
        return References.from_arrays({name: each.numpy() for name, each in tensors.items()})

    def _read(self) -> dict[str, torch.Tensor]:
        found = references(self.texts, self.words)
        return {name: torch.from_numpy(array) for name, array in found.to_arrays().items()}


def _weights(probes: ProbeSets) -> NDArray[np.float32]:
    """(fit, probe, d)."""
    return np.stack([fit.weight for fit in probes.fits])
