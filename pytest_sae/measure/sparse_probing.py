"""Sparse probing of one dictionary on the run's own labelled texts, from what is pooled anyway.

measure(given) -> list[Estimate]
datasets(latents, tasks, seed) -> list[Dataset]
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from pytest_sae.activations.latents import Latents
from pytest_sae.activations.store import Tensors
from pytest_sae.data.tasks import ClassTask, ClassTexts, SpuriousTask, SpuriousTexts, Tasks
from pytest_sae.measure.given import Given, without
from pytest_sae.measure.scr_and_tpp import erasure_texts
from pytest_sae.metrics import sparse_probing_estimates, transfer
from pytest_sae.metrics.class_probes import balanced, members, one_versus_rest
from pytest_sae.metrics.sparse_probing import (
    KS,
    PUBLISHED_KS,
    Members,
    NeuronLogits,
    ProbedTexts,
    fit_neurons,
    score_dataset,
)
from pytest_sae.numbers.bootstrap import generator
from pytest_sae.numbers.estimate import Estimate, Param

VERSION = "1"  # part of a cache key: raise it when the same activations are read otherwise
AT_EACH_K = (
    "sparse_probing",
    "sparse_probing.auc",
    "sparse_probing.neurons",
    "sparse_probing.gain",
)
WHOLE = ("sparse_probing.all_latents", "sparse_probing.activations", "sparse_probing.retention")


def measure(given: Given) -> list[Estimate]:
    """Return the `sparse_probing` figures over the tasks' [[tpp]] and [[scr]] tables.

    Each [[tpp]] table is a data set whose concepts are its classes, each [[scr]] table one whose
    concepts are the intended and the spurious one. Their texts are pooled already for SCR and TPP.
    Transfer is measured between tables that share a concept, and within [[transfer]] tables.

    Args:
        given: to measure from.
    """
    latents, tasks, seed = given.latents, given.tasks, given.seed
    if not tasks.labelled:
        return [*_no_tasks(tasks), *transfer.estimates([], seed)]
    pooled = _Pooled.of(latents, erasure_texts(tasks))
    scored = [
        score_dataset(
            each.name, each.concepts, each.train, each.test, each.members, _neurons(latents, each)
        )
        for each in _datasets(pooled, tasks, seed)
    ]
    return [
        *(sparse_probing_estimates.estimates(scored, seed) if scored else _no_tasks(tasks)),
        *transfer.estimates(_transfers(pooled, tasks), seed),
    ]


@dataclass(frozen=True)
class Dataset:
    """One data set as the dictionary reads it, before any probe.

    Args:
        name: of the data set.
        concepts: names, in the order of the targets.
        train: what probes are fitted on.
        test: what they are read on.
        members: the texts of the published protocol, as in `metrics.sparse_probing.score_dataset`.
    """

    name: str
    concepts: tuple[str, ...]
    train: ProbedTexts
    test: ProbedTexts
    members: Members | None = None


def _neurons(latents: Latents, data: Dataset) -> NeuronLogits:
    """Fit the probes on raw activations once per model, site and data set."""
    seen = hashlib.sha256()
    for split in (data.train, data.test):
        for part in (split.x, split.targets, split.weights):
            seen.update(np.ascontiguousarray(part).tobytes())
    for chosen in data.members or ():
        seen.update(np.ascontiguousarray(chosen).tobytes())
    key = {"step": "probes.neurons", "version": VERSION, "read": seen.hexdigest()}

    def make() -> Tensors:
        found = fit_neurons(data.train, data.test, data.members)
        # Text by text, as they come from a product: sums in another order end in other bits.
        told = {**vars(found), "whole": found.whole[0].T}
        told = {name: each for name, each in told.items() if each is not None}
        return {name: torch.from_numpy(np.ascontiguousarray(each)) for name, each in told.items()}

    with latents.store.work.timed("probes"):
        kept = {name: each.numpy() for name, each in latents.store.get(key, make).items()}
    return NeuronLogits(kept["few"], kept["whole"].T[None], kept.get("published"))


def datasets(latents: Latents, tasks: Tasks, seed: int) -> list[Dataset]:
    """Return every [[tpp]] and [[scr]] table as a data set.

    Args:
        latents: of the dictionary.
        tasks: with the tables.
        seed: of what is drawn.
    """
    return _datasets(_Pooled.of(latents, erasure_texts(tasks)), tasks, seed)


def _no_tasks(tasks: Tasks) -> list[Estimate]:
    absent, reason = without(tasks, "tpp", "scr")
    at_k: list[tuple[str, Param]] = [
        *product(AT_EACH_K, KS),
        *product(("sparse_probing.canonical",), PUBLISHED_KS),
    ]
    return [
        *(absent(name, reason, {"k": k}) for name, k in at_k),
        *(absent(name, reason) for name in WHOLE),
    ]


@dataclass(frozen=True)
class _Pooled:
    """What is pooled of all texts, and where each stands."""

    latents: Latents
    texts: tuple[str, ...]
    x: NDArray[np.float32]
    z: dict[transfer.Pooling, sparse.csr_array]

    @classmethod
    def of(cls, latents: Latents, texts: tuple[str, ...]) -> _Pooled:
        pooled = latents.pooled(texts)
        total = sparse.csr_array(pooled.z.multiply(pooled.tokens[:, None]))
        z: dict[transfer.Pooling, sparse.csr_array] = {
            "mean": pooled.z,
            "max": pooled.z_max,
            "sum": total,
            "last": pooled.z_last,
        }
        return cls(latents, texts, latents.read_means(texts), z)

    def places(self, texts: Sequence[str]) -> NDArray[np.int64]:
        return self.latents.places(self.texts, texts)


def _datasets(pooled: _Pooled, tasks: Tasks, seed: int) -> list[Dataset]:
    classes = [_classes(pooled, task, seed) for task in tasks.tpp]
    return [*classes, *(_spurious(pooled, task) for task in tasks.scr)]


def _classes(pooled: _Pooled, task: ClassTask, seed: int) -> Dataset:
    count = len(task.classes)
    splits, chosen = [], []
    for split, part in (("train", task.train), ("test", task.test)):
        labels, places = np.array(part.labels, np.int64), pooled.places(part.texts)
        targets, weights = one_versus_rest(labels, count), balanced(labels, count)
        weights = weights / weights.sum(1, keepdims=True)
        splits.append(
            ProbedTexts(pooled.z["mean"][places], pooled.x[places], targets, weights, labels)
        )
        rng = generator(seed, "sparse_probing", task.name, split)
        chosen.append(members(labels, count, rng))
    return Dataset(
        f"{task.name}.{task.column}", task.classes, splits[0], splits[1], (chosen[0], chosen[1])
    )


def _spurious(pooled: _Pooled, task: SpuriousTask) -> Dataset:
    splits = []
    for part in (task.train, task.test):
        places = pooled.places(part.texts)
        targets = np.array([part.intended, part.spurious])
        sizes = targets.sum(1, keepdims=True)
        weights = np.where(targets, 0.5 / sizes, 0.5 / (targets.shape[1] - sizes))
        cells = _cells(part)
        splits.append(
            ProbedTexts(pooled.z["mean"][places], pooled.x[places], targets, weights, cells)
        )
    concepts = (task.intended.name, task.spurious.name)
    return Dataset(task.name, concepts, splits[0], splits[1])


def _cells(part: SpuriousTexts) -> NDArray[np.int64]:
    cells: NDArray[np.int64] = 2 * np.array(part.intended, np.int64) + np.array(part.spurious)
    return cells


def _transfers(pooled: _Pooled, tasks: Tasks) -> list[transfer.TransferTask]:
    """Every ordered pair of data sets that share a concept, for every such concept."""
    found: list[transfer.TransferTask] = []
    for group in (*_shared_contrasts(pooled, tasks), *_shared_classes(pooled, tasks)):
        for place, (train, home) in enumerate(group):
            others = [test for other, (_, test) in enumerate(group) if other != place]
            found += transfer.fit_and_read(train, home, others)
    return found


_Splits = tuple[transfer.PooledTexts, transfer.PooledTexts]  # train and test of one data set


def _shared_contrasts(pooled: _Pooled, tasks: Tasks) -> Iterator[list[_Splits]]:
    """Of [[scr]] tables with the same intended or the same spurious concept."""
    shared: dict[tuple[str, str, str], list[tuple[SpuriousTask, bool]]] = {}
    for task in tasks.scr:
        for intended, concept in ((True, task.intended), (False, task.spurious)):
            label = (concept.column, concept.positive, concept.negative)
            shared.setdefault(label, []).append((task, intended))
    for group in shared.values():
        if len(group) > 1:
            yield [
                (
                    _pooled_texts(pooled, task, task.train, intended),
                    _pooled_texts(pooled, task, task.test, intended),
                )
                for task, intended in group
            ]


def _shared_classes(pooled: _Pooled, tasks: Tasks) -> Iterator[list[_Splits]]:
    """Of [[tpp]] tables with the same column and classes, and of every [[transfer]] table.

    Each class against the others is a concept; two classes are one.
    """
    shared: dict[tuple[str, frozenset[str]], list[ClassTask]] = {}
    for task in tasks.tpp:
        shared.setdefault((task.column, frozenset(task.classes)), []).append(task)
    groups = [*shared.values(), *(list(task.parts) for task in tasks.transfer)]
    for group in groups:
        classes = group[0].classes
        for name in classes[: 1 if len(classes) == 2 else None] if len(group) > 1 else ():
            yield [
                (
                    _class_against_rest(pooled, task, task.train, name),
                    _class_against_rest(pooled, task, task.test, name),
                )
                for task in group
            ]


def _class_against_rest(
    pooled: _Pooled, task: ClassTask, part: ClassTexts, name: str
) -> transfer.PooledTexts:
    places, labels = pooled.places(part.texts), np.array(part.labels, np.int64)
    z = {pooling: each[places] for pooling, each in pooled.z.items()}
    positive = labels == task.classes.index(name)
    return transfer.PooledTexts(f"{task.name} {name}", z, positive, labels)


def _pooled_texts(
    pooled: _Pooled, task: SpuriousTask, part: SpuriousTexts, intended: bool
) -> transfer.PooledTexts:
    places = pooled.places(part.texts)
    positive = np.array(part.intended if intended else part.spurious)
    z = {pooling: each[places] for pooling, each in pooled.z.items()}
    return transfer.PooledTexts(task.name, z, positive, _cells(part))
