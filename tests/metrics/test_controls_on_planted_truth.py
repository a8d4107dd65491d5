"""On worlds whose truth is planted, what is worse by make comes out worse, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from pytest_sae.families.registry import expected_of
from pytest_sae.gate.controls import holds
from pytest_sae.metrics import class_probes, scr, scr_estimates, tpp, tpp_estimates
from pytest_sae.metrics.ablation import AffineRemoval
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.session.controls import over_draws
from tests.metrics.planted import (
    CLASSES,
    LATENTS,
    D,
    ScrWorld,
    TppWorld,
    permuted,
    scr_world,
    tpp_world,
)

SPURIOUS = {"n": 20, "direction": "spurious"}


@cache
def scr_planted() -> ScrWorld:
    return scr_world()


@cache
def tpp_planted() -> TppWorld:
    return tpp_world()


def world_of(metric: str) -> ScrWorld | TppWorld:
    return scr_planted() if metric.startswith("scr") else tpp_planted()


def figure(estimates: Sequence[Estimate], metric: str) -> Estimate:
    return next(
        each for each in estimates if each.metric == metric and each.params in (SPURIOUS, {"n": 20})
    )


def scored(world: ScrWorld | TppWorld, **changes: np.ndarray) -> list[Estimate]:
    if isinstance(world, ScrWorld):
        return scr_estimates.estimates([world.score(**changes)], 0)
    return tpp_estimates.estimates([world.score(**changes)], 0)


def control(name: str, estimate: Estimate) -> Control:
    expected = expected_of(estimate.metric, name)
    assert expected is not None
    return Control(name, expected, "higher", estimate.value, estimate.se, status=estimate.status)


@pytest.mark.parametrize("metric", ["scr.margin", "tpp", "tpp.margin"])
def test_rows_that_are_permuted_or_drawn_at_random_are_below(metric: str) -> None:
    world = world_of(metric)
    own, rng = figure(scored(world), metric), np.random.default_rng(5)
    assert own.value is not None
    assert own.value > 0.5
    shuffles = [world.rows[rng.permutation(LATENTS)] for _ in range(5)]
    drawn = [rng.normal(size=(LATENTS, D)).astype(np.float32) / D**0.5 for _ in range(5)]
    for name, rows in (("permuted_decoder", shuffles), ("random", drawn)):
        draws = [figure(scored(world, rows=each), metric) for each in rows]
        found = control(name, over_draws(draws))
        assert found.value is not None
        assert found.value < own.value / 2, name
        assert holds(own.value, own.se, found) is True, (name, found.value, found.se)


@pytest.mark.parametrize("metric", ["scr.margin", "tpp"])
def test_a_control_that_is_the_same_dictionary_is_not_below(metric: str) -> None:
    world = world_of(metric)
    own = figure(scored(world), metric)
    again = permuted(world, np.random.default_rng(1).permutation(LATENTS))
    renumbered = figure(scored(world, **again), metric)
    assert renumbered.value == pytest.approx(own.value, abs=1e-9)
    assert holds(own.value, own.se, control("random", renumbered)) is False


def test_shuffled_labels_leave_scr_nothing_to_measure() -> None:
    world, rng = scr_planted(), np.random.default_rng(0)

    def shuffled(labels: scr.Quadrants) -> scr.Quadrants:
        order = rng.permutation(len(labels.intended))
        return scr.Quadrants(labels.intended[order], labels.spurious[order])

    train, test = shuffled(world.train), shuffled(world.test)
    probes = scr.fit_probes("planted", world.train_split.x, train, 0)
    removal = AffineRemoval(world.test_split.z, world.rows)
    task = scr.score_task(
        "planted", probes, train, world.train_split.z, test, world.test_split.x, world.rows,
        removal, (2, 20),
    )  # fmt: skip
    found = figure(scr_estimates.estimates([task], 0), "scr.margin")
    own = figure(scored(world), "scr.margin")
    assert found.status == "unable"
    assert holds(own.value, own.se, control("shuffled_labels", found)) is True


def test_shuffled_labels_leave_tpp_at_chance() -> None:
    # Many texts: from few the published probes are half trained, and their figure is not sure.
    world, rng = tpp_world(train=400), np.random.default_rng(0)
    train, test = (rng.permutation(labels) for labels in (world.train, world.test))
    probes = class_probes.fit_probes("planted", world.train_split.x, train, len(CLASSES), 0)
    removal = AffineRemoval(world.test_split.z, world.rows)
    task = tpp.score_task(
        "planted", CLASSES, probes, train, world.train_split.z, test, world.test_split.x,
        world.rows, removal, 0, (1, 20),
    )  # fmt: skip
    estimates, own = tpp_estimates.estimates([task], 0), scored(world)
    for metric in ("tpp", "tpp.canonical"):
        found, sae = figure(estimates, metric), figure(own, metric)
        assert holds(sae.value, sae.se, control("shuffled_labels", found)) is True, metric
