"""SCR and TPP of one dictionary: pooled once, probes fitted once per model, the rest is sums.

measure_scr(given) -> list[Estimate]
measure_tpp(given) -> list[Estimate]
PooledTask.of(latents, texts, train, test) -> PooledTask
scr_probes(latents, view, task, seed, fits) -> ProbeSets
tpp_probes(latents, view, task, seed, fits) -> ProbeSets
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from pytest_sae.activations.latents import Latents
from pytest_sae.data.tasks import ClassTask, ClassTexts, SpuriousTask, SpuriousTexts, Tasks
from pytest_sae.dictionaries.base import Scaled
from pytest_sae.measure import written_scale
from pytest_sae.measure.given import Given
from pytest_sae.metrics import class_probes, scr, scr_estimates, tpp, tpp_estimates
from pytest_sae.metrics.ablation import AffineRemoval, MeasuredRemoval, Removal
from pytest_sae.metrics.protocol import FEW, setting_of
from pytest_sae.numbers.estimate import Estimate, no_data, undefined
from pytest_sae.probes import ProbeSets

VERSION = "2"  # part of the probes' cache key: raise it when the same texts give other probes


def measure_scr(given: Given) -> list[Estimate]:
    """Return scr, scr.margin (both directions) and scr.canonical over the tasks' [[scr]] tables.

    Args:
        given: to measure from.
    """
    latents, tasks, seed, fits = given.latents, given.tasks, given.seed, given.counts["fits"]
    texts = erasure_texts(tasks)
    scored = [_score_scr(latents, texts, task, seed, fits) for task in tasks.scr]
    return scr_estimates.estimates(scored, seed)


def measure_tpp(given: Given) -> list[Estimate]:
    """Return tpp, tpp.margin, tpp.canonical and tpp.rescaled over the tasks' [[tpp]] tables.

    Args:
        given: to measure from.
    """
    latents, tasks, seed, fits = given.latents, given.tasks, given.seed, given.counts["fits"]
    texts = erasure_texts(tasks)
    scored = [_score_tpp(latents, texts, task, seed, fits) for task in tasks.tpp]
    if tasks.corpus is None:
        reason = f"{tasks.source} has no [corpus] table, on which its scale would be measured"
        unusable = tasks.unusable("corpus")
        absent = undefined if unusable else no_data
        lacking = absent(tpp_estimates.RESCALED, unusable or reason, {"n": setting_of(FEW)})
        return [*tpp_estimates.estimates(scored, seed), lacking]
    scale = written_scale.measure(latents, tasks.corpus.texts, seed)
    return tpp_estimates.estimates(scored, seed, scale=scale)


def erasure_texts(tasks: Tasks) -> tuple[str, ...]:
    """Return every distinct text of every SCR, TPP and transfer task.

    All of them together whichever family is asked for: what a text is batched with must not
    depend on which tests are selected, or the last bits of the numbers would.
    """
    texts = (text for task in tasks.labelled for text in (*task.train.texts, *task.test.texts))
    return tuple(dict.fromkeys(texts))


def _score_scr(
    latents: Latents, texts: Sequence[str], task: SpuriousTask, seed: int, fits: int
) -> scr.ScrTask:
    train, test = quadrants(task.train), quadrants(task.test)
    view = PooledTask.of(latents, texts, task.train.texts, task.test.texts)
    probes = scr_probes(latents, view, task, seed, fits)
    return scr.score_task(
        task.name, probes, train, view.z_train, test, view.x_test, view.rows, view.removal
    )


def _score_tpp(
    latents: Latents, texts: Sequence[str], task: ClassTask, seed: int, fits: int
) -> tpp.TppTask:
    train, test = class_labels(task.train), class_labels(task.test)
    view = PooledTask.of(latents, texts, task.train.texts, task.test.texts)
    probes = tpp_probes(latents, view, task, seed, fits)
    return tpp.score_task(
        task.name,
        task.classes,
        probes,
        train,
        view.z_train,
        test,
        view.x_test,
        view.rows,
        view.removal,
        seed,
    )


def scr_probes(
    latents: Latents, view: PooledTask, task: SpuriousTask, seed: int, fits: int
) -> ProbeSets:
    """Return the probes of an SCR task, fitted once for all dictionaries and families.

    Args:
        latents: of any dictionary of the model; its store keeps the probes.
        view: of the task, with the pooled training texts.
        task: has the labels.
        seed: of the resamples.
        fits: number of bootstrap resamples.
    """
    return _cached_probes(
        latents,
        view.x_train,
        {"step": "probes.scr", "task": task.fingerprint, "seed": seed, "fits": fits},
        lambda: scr.fit_probes(task.name, view.x_train, quadrants(task.train), seed, fits),
    )


def tpp_probes(
    latents: Latents, view: PooledTask, task: ClassTask, seed: int, fits: int
) -> ProbeSets:
    """Return the probes of a TPP task, fitted once for all dictionaries and families.

    Args:
        latents: of any dictionary of the model; its store keeps the probes.
        view: of the task, with the pooled training texts.
        task: has the classes.
        seed: of the resamples.
        fits: number of bootstrap resamples.
    """
    train, count = class_labels(task.train), len(task.classes)
    return _cached_probes(
        latents,
        view.x_train,
        {"step": "probes.tpp", "task": task.fingerprint, "seed": seed, "fits": fits},
        lambda: class_probes.fit_probes(task.name, view.x_train, train, count, seed, fits),
    )


def quadrants(split: SpuriousTexts) -> scr.Quadrants:
    """Return the labels of a split as arrays."""
    return scr.Quadrants(np.array(split.intended), np.array(split.spurious))


def class_labels(split: ClassTexts) -> NDArray[np.int64]:
    """Return the class indices of a split as an array."""
    return np.array(split.labels, np.int64)


@dataclass(frozen=True)
class PooledTask:
    """One task's part of what was pooled.

    Args:
        x_train: (text, d) mean activations of the training texts.
        x_test: (text, d) of the test texts.
        z_train: (text, d_sae) mean latents of the training texts.
        removal: what ablation takes from the test texts.
        removal_train: what it takes from the training texts.
        rows: (d_sae, d) decoder rows, or what ranks latents in their place, where the dictionary
            is.
    """

    x_train: NDArray[np.float32]
    x_test: NDArray[np.float32]
    z_train: sparse.csr_array
    removal: Removal
    removal_train: Removal
    rows: Tensor

    @classmethod
    def of(
        cls, latents: Latents, texts: Sequence[str], train: Sequence[str], test: Sequence[str]
    ) -> PooledTask:
        """Return a task's view of the pooled texts."""
        pooled = latents.pooled(texts)
        first, second = latents.places(texts, train), latents.places(texts, test)
        rows = latents.written_rows(texts)
        z_train, z_test = pooled.z[first], pooled.z[second]
        return cls(
            pooled.x[first],
            pooled.x[second],
            z_train,
            _removal(latents, texts, second, z_test),
            _removal(latents, texts, first, z_train),
            rows,
        )


def _removal(
    latents: Latents, texts: Sequence[str], places: NDArray[np.int64], z: sparse.csr_array
) -> Removal:
    """What ablation takes from some of the texts: a sum over latents that write fixed rows."""
    if isinstance(latents.dictionary, Scaled):
        return AffineRemoval(latents.pooled(texts).z_written[places], latents.fixed_rows)
    if latents.dictionary.decoder_rows is None:
        return MeasuredRemoval(lambda sets: latents.ablated(texts, sets, places))
    return AffineRemoval(z, latents.fixed_rows)


def _cached_probes(
    latents: Latents, x: NDArray[np.float32], key: dict[str, object], fit: Callable[[], ProbeSets]
) -> ProbeSets:
    """Fit once per model, site, task and seed; what they were fitted on is part of the key."""
    seen = hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()
    with latents.store.work.timed("probes"):
        tensors = latents.store.get(
            {**key, "version": VERSION, "x": seen},
            lambda: {name: torch.from_numpy(a) for name, a in fit().to_arrays().items()},
        )
    return ProbeSets.from_arrays({name: tensor.numpy() for name, tensor in tensors.items()})
