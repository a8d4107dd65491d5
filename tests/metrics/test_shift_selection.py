"""Which latents SHIFT takes: candidates, acceptance, the oracle."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.metrics.scr import Quadrants
from pytest_sae.metrics.shift_selection import (
    Opinion,
    Oracle,
    accepted,
    candidates,
    validation,
)
from tests.metrics.planted import quadrants, scr_world

ABOUT = {"intended": "job", "spurious": "gender"}


@pytest.mark.parametrize(("job", "gender"), list(product(range(5), repeat=2)))
def test_a_latent_is_accepted_for_the_higher_rating_of_at_least_two(job: int, gender: int) -> None:
    found = Opinion({"job": job, "gender": gender, "colour": 4}).accepted(ABOUT)
    if job == gender or max(job, gender) < 2:
        assert found is None
    else:
        assert found == ("spurious" if gender > job else "intended")


def test_no_answer_accepts_nothing() -> None:
    assert Opinion(None, "refused").accepted(ABOUT) is None


def test_accepted_latents_keep_the_order_of_their_effects() -> None:
    opinions = {each: Opinion({"job": 0, "gender": 4 if each % 2 else 0}) for each in range(9)}
    assert accepted([7, 2, 1, 8, 5], opinions, ABOUT).tolist() == [7, 1, 5]


def test_candidates_are_the_union_of_both_orders_by_averaged_effect() -> None:
    world = scr_world()
    found = candidates(world.probes, world.train, world.train_split.z, world.rows, 5)
    z = world.train_split.z.toarray().astype(float)
    for place, concept in enumerate(("intended", "spurious")):
        label = world.train.label(concept)
        reads = [
            np.abs(world.rows.astype(float) @ fit.weight[place].astype(float))
            for fit in world.probes.fits
        ]
        expected = np.abs(z[label].mean(0) - z[~label].mean(0)) * np.mean(reads, axis=0)
        np.testing.assert_allclose(found.effects[concept], expected, rtol=1e-6, atol=1e-12)
        assert found.orders[concept].tolist() == np.argsort(-expected)[:5].tolist()
    both = {*found.orders["intended"].tolist(), *found.orders["spurious"].tolist()}
    assert set(found.latents.tolist()) == both
    assert len(found.latents) == len(both)


def random_oracle(seed: int, latents: int = 6, each: int = 8, fits: int = 2) -> Oracle:
    rng = np.random.default_rng(seed)
    labels = quadrants(each)
    signs = np.where(labels.intended, 1.0, -1.0) + 2 * np.where(labels.spurious, 1.0, -1.0)
    confounded = signs + rng.normal(size=(fits, 4 * each))
    return Oracle(confounded, rng.normal(size=(latents, fits, 4 * each)), labels)


def accuracy(oracle: Oracle, chosen: list[int]) -> float:
    logits = oracle.confounded - sum((oracle.removed[each] for each in chosen), start=0.0)
    right = (logits > 0) == oracle.labels.intended
    cells = [right[:, oracle.labels.cells == cell].mean() for cell in range(4)]
    return float(np.mean(cells))


@given(seed=st.integers(0, 10_000), most=st.integers(0, 6))
@settings(max_examples=50, deadline=None)
def test_the_oracle_never_reads_worse_than_nothing_and_grows_with_every_step(
    seed: int, most: int
) -> None:
    oracle = random_oracle(seed)
    chosen = oracle.choose(most)
    assert len(chosen) == len(set(chosen)) <= most
    steps = [accuracy(oracle, chosen[:count]) for count in range(len(chosen) + 1)]
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(steps))


@given(seed=st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_the_oracle_takes_the_best_single_latent_first(seed: int) -> None:
    oracle = random_oracle(seed)
    alone = [accuracy(oracle, [each]) for each in range(len(oracle.removed))]
    chosen = oracle.choose(1)
    if max(alone) > accuracy(oracle, []) + 1e-9:
        assert alone[chosen[0]] == pytest.approx(max(alone))
    elif chosen:
        assert alone[chosen[0]] == pytest.approx(accuracy(oracle, []))


def test_the_oracle_takes_the_spurious_latent_and_stops() -> None:
    labels = quadrants(10)
    job, gender = (np.where(each, 1.0, -1.0) for each in (labels.intended, labels.spurious))
    removed = np.stack([-job, 2 * gender, np.zeros(40)])[:, None]
    removed[0] *= -1
    oracle = Oracle((job + 2 * gender)[None], removed, labels)
    assert oracle.choose(3) == [1]


def test_validation_is_every_other_text_of_each_cell_whatever_their_order() -> None:
    labels, rng = quadrants(11), np.random.default_rng(0)
    logits = rng.normal(size=(2, 44))
    chosen = validation(labels, logits)
    assert [int(chosen[labels.cells == cell].sum()) for cell in range(4)] == [6] * 4
    order = rng.permutation(44)
    moved = Quadrants(labels.intended[order], labels.spurious[order])
    assert np.array_equal(validation(moved, logits[:, order]), chosen[order])
