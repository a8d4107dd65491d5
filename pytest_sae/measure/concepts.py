"""Concept deletion and insertion of one dictionary, with the probes that SCR and TPP fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.activations.latents import Latents
from pytest_sae.data.preferences import Preferences
from pytest_sae.data.tasks import Tasks
from pytest_sae.measure.given import Given, without
from pytest_sae.measure.scr_and_tpp import (
    PooledTask,
    erasure_texts,
    quadrants,
    scr_probes,
    tpp_probes,
)
from pytest_sae.metrics import concepts, preferences
from pytest_sae.metrics.ablation import Bools, mean_difference, rows_of, written
from pytest_sae.metrics.class_probes import one_versus_rest
from pytest_sae.metrics.concepts import Carried, ProbedConcept
from pytest_sae.metrics.coupling import coupling
from pytest_sae.numbers.bootstrap import Floats, generator
from pytest_sae.numbers.estimate import Estimate, no_data, not_applicable, undefined
from pytest_sae.probes import LinearProbes

_NO_PREFERENCES = "the data has no [preferences] table with pairs of replies"
_SHOWN = 10  # latents of a concept whose coupling with its probe is told


def measure(given: Given) -> list[Estimate]:
    """Return the figures of concepts, and preference_auc_kept.

    Concepts are those of all [[scr]] and [[tpp]] tables, preferences those of [preferences].

    Args:
        given: to measure from.
    """
    latents, tasks, seed, fits = given.latents, given.tasks, given.seed, given.counts["fits"]
    unusable = tasks.unusable("preferences")
    kept = (
        undefined(preferences.METRIC, unusable)
        if unusable
        else _preferences(latents, tasks.preferences, seed)
    )
    return [*_carried(latents, tasks, seed, fits), kept]


def _carried(latents: Latents, tasks: Tasks, seed: int, fits: int) -> list[Estimate]:
    if latents.dictionary.decoder_rows is None:
        reason = "the dictionary has no fixed decoder rows"
        return [not_applicable(name, reason) for name in concepts.NAMES]
    if not tasks.scr and not tasks.tpp:
        absent, reason = without(tasks, "scr", "tpp")
        return [absent(name, reason) for name in concepts.NAMES]
    found, couplings = [], {}
    for concept, halves, rows, weight in _concepts(latents, tasks, seed, fits):
        with latents.store.work.timed("concepts"):
            found.append(
                Carried(
                    concept.name,
                    concepts.curves(concept, seed),
                    concepts.fidelity(concept, seed),
                    concepts.stability(halves),
                )
            )
        couplings[concept.name] = _couplings(concept, rows, weight)
    return concepts.estimates(found, couplings)


def _preferences(latents: Latents, found: Preferences | None, seed: int) -> Estimate:
    if found is None:
        return no_data(preferences.METRIC, _NO_PREFERENCES)
    if not latents.can_read(found.texts):
        return not_applicable(preferences.METRIC, "their replies were not recorded")
    z = latents.pooled(found.texts).z
    train, test = (
        preferences.PreferencePairs(
            z[latents.places(found.texts, split.first)]
            - z[latents.places(found.texts, split.second)],
            np.array(split.preferred),
            np.array(split.score),
        )
        for split in (found.train, found.test)
    )
    return preferences.preference_auc_kept(train, test, seed)


_Halves = list[tuple[Floats, Floats]]
_Read = tuple[ProbedConcept, _Halves, Tensor, NDArray[np.floating]]


def _concepts(latents: Latents, tasks: Tasks, seed: int, fits: int) -> Iterator[_Read]:
    texts = erasure_texts(tasks)
    for task in tasks.scr:
        view = PooledTask.of(latents, texts, task.train.texts, task.test.texts)
        probes = scr_probes(latents, view, task, seed, fits).fits[0]
        train, test = quadrants(task.train), quadrants(task.test)
        names = [f"{task.name} {part}" for part in ("intended", "spurious")]
        labels = [np.stack([each.intended, each.spurious]) for each in (train, test)]
        yield from _read(latents, texts, view, task.test.texts, probes, names, labels, seed)
    for each in tasks.tpp:
        view = PooledTask.of(latents, texts, each.train.texts, each.test.texts)
        probes = tpp_probes(latents, view, each, seed, fits).fits[0]
        names = [f"{each.name} {part}" for part in each.classes]
        labels = [
            one_versus_rest(np.array(split.labels, np.int64), len(names))
            for split in (each.train, each.test)
        ]
        yield from _read(latents, texts, view, each.test.texts, probes, names, labels, seed)


def _read(
    latents: Latents,
    texts: Sequence[str],
    view: PooledTask,
    test: Sequence[str],
    probes: LinearProbes,
    names: Sequence[str],
    labels: Sequence[Bools],
    seed: int,
) -> Iterator[_Read]:
    z = latents.pooled(texts).z[latents.places(texts, test)]
    adds, logits = written(view.rows, probes.weight), probes.logits(view.x_test)
    live = np.unique(view.z_train.indices).astype(np.int64)
    for place, name in enumerate(names):
        train, seen = labels[0][place], labels[1][place]
        moved = mean_difference(view.z_train, train, ~train)
        own = adds[:, place]
        usual = (view.z_train[train].mean(0) + view.z_train[~train].mean(0)) / 2
        concept = ProbedConcept(name, seen, logits[place], z, own, moved * own, live, usual)
        halves = [
            (
                mean_difference(view.z_train, train & half, ~train & half) * own,
                mean_difference(view.z_train, train & ~half, ~train & ~half) * own,
            )
            for half in _splits(train, view.x_train, seed, name)
        ]
        yield concept, halves, view.rows, probes.weight[place]


def _splits(train: Bools, x: NDArray[np.floating], seed: int, name: str) -> list[Bools]:
    """Halves of the training texts, balanced; what a text is and not its place says which."""
    ranked = np.lexsort((x[:, 0], train))
    rng = generator(seed, "concepts", name, "halves")
    found = []
    for _ in range(concepts.SPLITS):
        half = np.zeros(len(train), np.bool_)
        for side in (False, True):
            members = rng.permutation(ranked[train[ranked] == side])
            half[members[: len(members) // 2]] = True
        found.append(half)
    return found


def _couplings(
    concept: ProbedConcept, rows: Tensor, weight: NDArray[np.floating]
) -> list[dict[str, float]]:
    """Tell C(d_j, w) of the most important latents: the logit that one unit along d_j predicts."""
    best = np.argsort(-concept.importance, kind="stable")[:_SHOWN]
    values = coupling(rows_of(rows, best), weight)
    return [
        {"latent": int(latent), "coupling": float(value)}
        for latent, value in zip(best, values, strict=True)
        if np.isfinite(value)
    ]
