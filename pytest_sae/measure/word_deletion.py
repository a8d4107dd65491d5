"""Deleting the spurious concept's words in place of latents: no dictionary has a part in it.

measure(given, prefix) -> list[Estimate]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from pytest_sae.activations.latents import Latents
from pytest_sae.data.tasks import SpuriousTask
from pytest_sae.measure import scr_and_tpp
from pytest_sae.measure.given import Given
from pytest_sae.measure.shift import deletions, means_of_deleted
from pytest_sae.metrics.protocol import FEW, HEADLINE_N, NS, setting_of
from pytest_sae.metrics.scr import CONCEPTS, DirectionLogits, Measure, ScrTask
from pytest_sae.metrics.scr_estimates import DrawnTask, recovered
from pytest_sae.metrics.shift import WordDeletion
from pytest_sae.models.absent import NO_MODEL
from pytest_sae.numbers.estimate import Estimate, Param, not_applicable

Prefix = Literal["scr", "shift"]
_MEASURES: tuple[tuple[str, Measure, tuple[int, ...]], ...] = (
    ("", "accuracy", (HEADLINE_N,)),
    (".margin", "margin", (HEADLINE_N,)),
    (".margin", "margin", FEW),
)


def of_scr(given: Given) -> list[Estimate]:
    """Return what deleting words reaches, as figures of `scr`."""
    return measure(given, "scr")


def of_shift(given: Given) -> list[Estimate]:
    """Return what deleting words reaches, as figures of `shift`."""
    return measure(given, "shift")


def measure(given: Given, prefix: Prefix) -> list[Estimate]:
    """Return what deleting words reaches where `scr` (removing the spurious concept) ablates.

    `sum of (deleted - confounded) / sum of (clean - confounded)` over the tasks, as `scr` and
    `scr.margin`, or `shift` and `shift.margin`; higher is better. The words are those that the
    task names, or those that tell the concept's values apart in the training texts.

    Args:
        given: its latents give the activations, their dictionary is not asked; the draws are
            those of `scr`.
        prefix: whose names the estimates have.
    """
    latents, tasks, seed, fits = given.latents, given.tasks, given.seed, given.counts["fits"]
    gone = deletions(tasks)
    means = means_of_deleted(latents, tasks, gone)
    # SHIFT's judge picks latents, so that its figures have one setting.
    wanted = _MEASURES if prefix == "scr" else _MEASURES[:2]
    params: dict[str, Param] = {"direction": "spurious"} if prefix == "scr" else {}
    named = [
        (f"{prefix}{suffix}", kind, ns, {**params, "n": setting_of(ns)})
        for suffix, kind, ns in wanted
    ]
    if not means:
        return [not_applicable(name, NO_MODEL, setting) for name, _, _, setting in named]
    texts = scr_and_tpp.erasure_texts(tasks)
    drawn = [
        DrawnTask.of(_read(latents, texts, task, each.read(task, means), seed, fits), seed)
        for task, each in zip(tasks.scr, gone, strict=True)
    ]
    return [
        recovered(drawn, "spurious", kind, name, setting, ns) for name, kind, ns, setting in named
    ]


def _read(
    latents: Latents,
    texts: Sequence[str],
    task: SpuriousTask,
    deleted: WordDeletion,
    seed: int,
    fits: int,
) -> ScrTask:
    """The confounded probes on what is left of the test texts, in the form of an SCR task."""
    view = scr_and_tpp.PooledTask.of(latents, texts, task.train.texts, task.test.texts)
    probes = scr_and_tpp.scr_probes(latents, view, task, seed, fits).fits
    own, confounded = (
        np.stack([fit.logits(view.x_test)[CONCEPTS.index(name)] for fit in probes])
        for name in ("intended", "confounded")
    )
    left = np.stack([fit.logits(deleted.x_test)[CONCEPTS.index("confounded")] for fit in probes])
    everywhere = np.repeat(left[None], len(NS), axis=0)
    reading = DirectionLogits(own, confounded, everywhere, np.zeros(len(probes), np.int64))
    return ScrTask(task.name, NS, scr_and_tpp.quadrants(task.test), {}, {"spurious": reading})
