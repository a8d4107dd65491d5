"""SHIFT with judges who err: its figures are those of a run, and errors cost what they must."""

from __future__ import annotations

from itertools import pairwise, product
from math import comb

import numpy as np
import pytest

from benchmarks.concept_panels import Code
from benchmarks.concept_shift import shift
from benchmarks.concept_worlds import Kind, KindWorld
from benchmarks.judge_errors import (
    AXES,
    SILENT,
    Axis,
    answered,
    calibrated,
    opinions,
    true_ratings,
)
from benchmarks.judge_readings import Read, names_of, picked, read, refit_gain, values
from pytest_sae.metrics.shift import score_task
from pytest_sae.metrics.shift_estimates import estimates
from pytest_sae.numbers.bootstrap import generator

TASKS = 2
NAMES = names_of(TASKS)
FEW = (40, 30)


@pytest.fixture(scope="module")
def world() -> KindWorld:
    return KindWorld(Kind("small", 60, 24, 5, most=0.05, concept=2, caused=False))


@pytest.fixture(scope="module")
def oracle(world: KindWorld) -> Read:
    """The true features, read on two tasks."""
    texts = [world.pair(place, FEW, 0) for place in range(TASKS)]
    return read(world, Code("oracle", "oracle", lambda _: _[:0], world.rows), texts)


def said(of: Read, axis: Axis, share: float, judge: int = 0):
    return opinions(answered(of.ratings, axis, share, generator(judge, axis, str(share))), NAMES)


def test_the_judge_who_knows_the_truth_picks_the_features_of_the_spurious_concept(
    world: KindWorld, oracle: Read
) -> None:
    sets = picked(oracle.readings, opinions(oracle.ratings, NAMES))
    for place, latents in enumerate(sets):
        assert set(latents.tolist()) == set(world.pairs[place, 1].tolist())


def test_a_latent_is_about_what_fires_where_it_is_strongest_whatever_it_does_elsewhere() -> None:
    z = np.concatenate([np.linspace(2, 3, 20), np.ones(80), np.zeros(900)])[:, None]
    fires = np.zeros((1000, 2), bool)
    fires[:20, 0] = True
    fires[20:100, 1] = True
    assert true_ratings(z, fires).tolist() == [[4, 0]]
    assert true_ratings(np.zeros((1000, 1)), fires).tolist() == [[0, 0]]


@pytest.mark.parametrize("axis", AXES)
def test_the_figures_are_those_of_shift(oracle: Read, axis: Axis) -> None:
    judge = said(oracle, axis, 0.3)
    scored = [
        score_task(each.data, each.candidates, judge, each.about, None, 0)
        for each in oracle.readings
    ]
    expected = {each.metric: each.value for each in estimates(scored, {}, 0)}
    sets = picked(oracle.readings, judge)
    found = values(oracle.readings, sets)
    found["shift.worst_cell.refit"] = refit_gain(oracle.readings, sets)
    assert found == {name: pytest.approx(expected[name], abs=1e-6) for name in found}


def test_a_judge_who_abstains_from_everything_changes_nothing(oracle: Read) -> None:
    silent = opinions(np.full_like(oracle.ratings, SILENT), NAMES)
    sets = picked(oracle.readings, silent)
    assert not any(map(len, sets))
    assert set(values(oracle.readings, sets).values()) == {0.0}
    assert refit_gain(oracle.readings, sets) == 0.0


def test_the_share_of_latents_that_a_judge_says_nothing_about_is_in_the_report(
    oracle: Read,
) -> None:
    silent = answered(oracle.ratings, "abstains", 0.3, generator(0, "silence"))
    judge = opinions(silent, NAMES)
    scored = [
        score_task(each.data, each.candidates, judge, each.about, None, 0)
        for each in oracle.readings
    ]
    (told,) = (each for each in estimates(scored, {}, 0) if each.metric == "shift.abstained")
    asked = np.unique(np.concatenate([each.candidates.latents for each in oracle.readings]))
    assert told.value == pytest.approx((silent[asked, 0] == SILENT).mean())
    assert told.value > 0.1


def test_a_judge_who_abstains_now_and_then_ablates_nothing_that_is_not_the_cue(
    oracle: Read,
) -> None:
    truth = picked(oracle.readings, opinions(oracle.ratings, NAMES))
    for judge in range(20):
        some = picked(oracle.readings, said(oracle, "abstains", 0.4, judge))
        assert all(set(one) <= set(other) for one, other in zip(some, truth, strict=True))


def test_what_abstaining_costs_is_the_mean_over_all_ways_to_miss_latents(oracle: Read) -> None:
    task = oracle.readings[:1]
    (truth,) = picked(task, opinions(oracle.ratings, NAMES))
    by_subset = {
        kept: values(task, [truth[list(kept)]])["shift.margin"]
        for kept in product([False, True], repeat=len(truth))
    }

    def expected(share: float) -> float:
        return sum(
            value * (1 - share) ** sum(kept) * share ** (len(kept) - sum(kept))
            for kept, value in by_subset.items()
        )

    curve = [expected(share) for share in (0.0, 0.1, 0.2, 0.5, 1.0)]
    assert all(after < before for before, after in pairwise(curve))
    assert curve[-1] == 0.0
    drawn = [
        values(task, picked(task, said(oracle, "abstains", 0.5, judge)))["shift.margin"]
        for judge in range(150)
    ]
    error = float(np.std(drawn)) / np.sqrt(len(drawn))
    assert np.mean(drawn) == pytest.approx(expected(0.5), abs=4 * error)


@pytest.mark.parametrize("axis", AXES)
def test_the_value_falls_with_errors(oracle: Read, axis: Axis) -> None:
    means = [
        np.mean([
            values(oracle.readings, picked(oracle.readings, said(oracle, axis, share, judge)))[
                "shift.margin"
            ]
            for judge in range(30)
        ])
        for share in (0.0, 0.2, 0.5)
    ]  # fmt: skip
    assert means[0] > means[1] > means[2]


def by_hand(axis: Axis, share: float) -> float:
    """What the calibration expects of such a judge: four concepts, one or none of them right."""
    right = 1 - share
    if axis == "abstains":
        return right
    if axis == "confuses":
        return (right + 1) / 2
    none_turned = right**4
    one_turned = comb(4, 1) * share * right**3
    return (none_turned + 1 - one_turned) / 2


@pytest.mark.parametrize(("axis", "share"), list(product(AXES, (0.1, 0.3))))
def test_the_calibration_gives_such_a_judge_what_a_closed_form_says(
    axis: Axis, share: float
) -> None:
    found = [calibrated(axis, share, generator(judge, axis, "many")).value for judge in range(300)]
    error = float(np.std(found)) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(by_hand(axis, share), abs=4 * error)


def test_shift_of_a_panel_is_that_of_a_judge_who_is_right(world: KindWorld, oracle: Read) -> None:
    texts = [world.pair(place, FEW, 0) for place in range(TASKS)]
    code = Code("oracle", "oracle", lambda _: _[:0], world.rows)
    found = shift(world, code, texts)
    right = values(oracle.readings, picked(oracle.readings, opinions(oracle.ratings, NAMES), 5))
    assert found["shift.margin:n=5"] == right["shift.margin"]
    assert {key.partition("=")[2] for key in found} == {"2", "5", "10", "20"}
    rows = world.rows.flip(1)
    nobody = Code("random", "control", lambda x: (x @ rows.T).relu(), rows)
    assert shift(world, nobody, texts)["shift.margin:n=20"] < found["shift.margin:n=20"] - 0.2
