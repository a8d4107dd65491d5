"""SHIFT on worlds whose truth is planted: the right judge, none, a greedy one, a silent one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

from pytest_sae.metrics import scr
from pytest_sae.metrics.ablation import AffineRemoval, MeasuredRemoval
from pytest_sae.metrics.shift import (
    ABLATED,
    CLASSIFIERS,
    ShiftTask,
    TaskData,
    WordDeletion,
    score_task,
)
from pytest_sae.metrics.shift_estimates import NAMES, estimates
from pytest_sae.metrics.shift_selection import Opinion, candidates
from pytest_sae.probes import L2
from tests.metrics.planted import LATENTS, ScrWorld, permuted, rescaled, scr_world

ABOUT: dict[scr.Concept, str] = {"intended": "job: a or b", "spurious": "gender: f or m"}
INTENDED, SPURIOUS = (0, 1), (2, 3)
NS = (2, 5, 20)


def opinion(job: int, gender: int) -> Opinion:
    return Opinion({ABOUT["intended"]: job, ABOUT["spurious"]: gender}, "it says so")


def judged(verdict: Mapping[int, Opinion], otherwise: Opinion) -> dict[int, Opinion]:
    return {latent: verdict.get(latent, otherwise) for latent in range(LATENTS)}


RIGHT = judged(
    {**dict.fromkeys(SPURIOUS, opinion(0, 4)), **dict.fromkeys(INTENDED, opinion(3, 1))},
    opinion(0, 1),
)
NOTHING = judged({}, opinion(1, 1))
EVERYTHING = judged({}, opinion(1, 2))


@pytest.fixture(scope="module")
def world() -> ScrWorld:
    return scr_world()


@pytest.fixture(scope="module")
def plain_numbers(world: ScrWorld) -> list[float]:
    return numbers(shifted(world, RIGHT))


@pytest.fixture(scope="module")
def one_sided() -> ScrWorld:
    return scr_world(two_sided=False)


def data_of(world: ScrWorld, z_train=None, z_test=None, rows=None) -> TaskData:
    rows = world.rows if rows is None else rows
    z_train = world.train_split.z if z_train is None else z_train
    z_test = world.test_split.z if z_test is None else z_test
    return TaskData(
        "planted",
        world.probes,
        world.train,
        world.test,
        world.train_split.x,
        world.test_split.x,
        AffineRemoval(z_train, rows),
        AffineRemoval(z_test, rows),
    )


def shifted(world: ScrWorld, opinions: Mapping[int, Opinion], **changed) -> ShiftTask:
    """The words of the planted world are what its spurious latents write."""
    data = data_of(world, **changed)
    found = candidates(
        data.probes, data.train, data.removal_train.z, data.removal_train.decoder, max(NS)
    )
    without = [
        split.x - split.z[:, list(SPURIOUS)] @ world.rows[list(SPURIOUS)]
        for split in (world.train_split, world.test_split)
    ]
    deleted = WordDeletion(("she", "he"), without[0], without[1])
    return score_task(data, found, opinions, ABOUT, deleted, 0, NS)


def figures(task: ShiftTask):
    return {each.metric: each for each in estimates([task], {"name": "a function"}, seed=0)}


def worst(task: ShiftTask, logits: np.ndarray) -> float:
    """By the definition: in each fit the lowest of four accuracies, then a mean."""
    lowest = []
    for fit in logits:
        right = (fit > 0) == task.test.intended
        lowest.append(min(right[task.test.cells == cell].mean() for cell in range(4)))
    return float(np.mean(lowest))


def numbers(task: ShiftTask) -> list[float]:
    """Every figure, with its interval."""
    found = []
    measured = figures(task)
    for each in measured.values():
        found += [each.value, *(each.ci or ())]
    table = measured["shift"].details["table"]
    for kinds in table.values():
        found += [column["value"] for columns in kinds.values() for column in columns.values()]
    return found


# Planted truths


def test_the_right_judge_wins_everything_back(world: ScrWorld) -> None:
    task = shifted(world, RIGHT)
    found = figures(task)
    assert sorted(task.sets["judge"]) == list(SPURIOUS)
    for metric in ("shift", "shift.margin"):
        assert found[metric].value == pytest.approx(1.0, abs=0.05)
    clean = worst(task, task.own)
    for metric in ("shift.worst_cell", "shift.worst_cell.refit"):
        low, _ = found[metric].ci
        assert low > 0
        assert found[metric].details["after"]["value"] == pytest.approx(clean, abs=0.06)


def test_the_spurious_label_can_no_longer_be_read(world: ScrWorld) -> None:
    table = figures(shifted(world, RIGHT))["shift"].details["table"]
    for kind in CLASSIFIERS:
        assert table["none"][kind]["spurious"]["value"] > 0.65
        assert table["judge"][kind]["spurious"]["value"] == pytest.approx(0.5, abs=0.05)


def test_a_judge_that_accepts_nothing_changes_exactly_nothing(world: ScrWorld) -> None:
    found = figures(shifted(world, NOTHING))
    for metric in ("shift", "shift.worst_cell", "shift.worst_cell.refit", "shift.accepted"):
        assert found[metric].value == 0.0
    for metric in ("shift", "shift.worst_cell", "shift.worst_cell.refit"):
        assert found[metric].ci == (0.0, 0.0)
    assert found["shift.margin"].value == pytest.approx(0.0, abs=1e-12)
    details = found["shift"].details
    assert [point["value"] for point in details["curve"].values()] == [0.0] * len(NS)
    for kind in CLASSIFIERS:
        for column in details["table"]["judge"][kind].values():
            assert (column["gain"]["value"], column["gain"]["se"]) == (0.0, 0.0)


def test_a_judge_that_accepts_everything_selects_by_effect_bit_for_bit(world: ScrWorld) -> None:
    task = shifted(world, EVERYTHING)
    assert task.sets["judge"].tolist() == task.sets["effect"].tolist()
    assert np.array_equal(task.curves["judge"], task.curves["effect"])
    for kind in CLASSIFIERS:
        assert np.array_equal(task.readings["judge"][kind], task.readings["effect"][kind])
    details = figures(task)["shift"].details
    assert details["table"]["judge"] == details["table"]["effect"]
    assert details["curves"]["judge"] == details["curves"]["effect"]


def test_a_judge_that_takes_one_concept_for_the_other_makes_it_worse(world: ScrWorld) -> None:
    """The intended latents are ablated: its own label can be read no better than before."""
    wrong = judged(dict.fromkeys(INTENDED, opinion(0, 4)), opinion(0, 0))
    data = data_of(world)
    found = candidates(data.probes, data.train, world.train_split.z, world.rows, 20)
    top = replace(found, orders={**found.orders, "spurious": found.orders["intended"]})
    deleted = WordDeletion((), data.x_train, data.x_test)
    task = score_task(data, top, wrong, ABOUT, deleted, 0, NS)
    assert figures(task)["shift.margin"].ci[1] < 0
    assert figures(task)["shift.worst_cell.refit"].ci[1] < 0


def test_a_silent_judge_is_counted_and_ablates_nothing(world: ScrWorld) -> None:
    silent = {**RIGHT, 2: Opinion(None, "no JSON"), 3: Opinion(None, "no JSON")}
    task = shifted(world, silent)
    found = figures(task)
    assert task.sets["judge"].tolist() == []
    assert found["shift"].value == 0.0
    assert found["shift.abstained"].value == 2 / len(task.candidates.latents)
    assert found["shift.abstained"].details["latents"] == {"2": "no JSON", "3": "no JSON"}
    assert found["shift.agreement"].n["pairs"] == len(task.candidates.latents) - 2


def test_a_threshold_that_stays_behind_costs_the_worst_cell_what_recentring_wins_back(
    one_sided: ScrWorld,
) -> None:
    """Latents that fire for one value only: set to zero, they move all logits the same way."""
    table = figures(shifted(one_sided, RIGHT))["shift"].details["table"]["judge"]
    assert table["recentred"]["margin"]["gain"]["low"] > 0
    assert table["recentred"]["worst"]["gain"]["low"] > 0
    assert table["refit"]["worst"]["gain"]["low"] > 0
    assert table["plain"]["worst"]["value"] < table["recentred"]["worst"]["value"] - 0.1


def test_what_words_leave_is_read_like_an_ablation_of_all_they_carry(world: ScrWorld) -> None:
    """The planted words are the planted latents, so both selections are one and the same."""
    task = shifted(world, RIGHT)
    for kind in CLASSIFIERS:
        np.testing.assert_allclose(
            task.readings["words"][kind], task.readings["judge"][kind], atol=1e-4
        )


# What may not matter


@given(seed=st.integers(0, 1000))
@settings(max_examples=4, deadline=None)
def test_the_numbering_of_the_latents_changes_nothing(
    world: ScrWorld, plain_numbers: list[float], seed: int
) -> None:
    permutation = np.random.default_rng(seed).permutation(LATENTS)
    opinions = {new: RIGHT[int(old)] for new, old in enumerate(permutation)}
    changed = shifted(world, opinions, **permuted(world, permutation))
    assert numbers(changed) == pytest.approx(plain_numbers, abs=1e-9)


@given(seed=st.integers(0, 1000))
@settings(max_examples=4, deadline=None)
def test_the_units_of_the_latents_change_nothing(
    world: ScrWorld, plain_numbers: list[float], seed: int
) -> None:
    scale = 2.0 ** np.random.default_rng(seed).integers(-6, 7, LATENTS)
    changed = shifted(world, RIGHT, **rescaled(world, scale))
    assert numbers(changed) == pytest.approx(plain_numbers, abs=1e-9)


@given(seed=st.integers(0, 1000))
@settings(max_examples=4, deadline=None)
def test_the_order_of_the_test_texts_changes_nothing(
    world: ScrWorld, plain_numbers: list[float], seed: int
) -> None:
    texts = np.random.default_rng(seed).permutation(len(world.test.cells))
    shuffled = replace(
        world,
        test=scr.Quadrants(world.test.intended[texts], world.test.spurious[texts]),
        test_split=type(world.test_split)(world.test_split.x[texts], world.test_split.z[texts]),
    )
    assert numbers(shifted(shuffled, RIGHT)) == pytest.approx(plain_numbers, abs=1e-9)


def test_the_same_run_gives_the_same_bits(world: ScrWorld) -> None:
    assert figures(shifted(world, RIGHT)) == figures(shifted(world, RIGHT))


# Against other algorithms


def test_refitting_without_ablation_is_the_confounded_probe(world: ScrWorld) -> None:
    data = data_of(world)
    again = scr.refit("planted", data.x_train, data.train, 0, len(data.probes.fits))
    np.testing.assert_allclose(
        again.logits(data.x_test), data.confounded.logits(data.x_test), atol=1e-5
    )


def test_refitting_is_a_weighted_logistic_regression_on_the_confounded_texts(
    world: ScrWorld,
) -> None:
    """Another implementation of the penalty, on all resamples at once: every text counts alike."""
    data = data_of(world)
    x = data.x_train - data.removal_train.means([np.array(SPURIOUS)])[0]
    scaled = (x - x.mean(0)) / x.std(0)
    seen = data.train.intended == data.train.spurious
    model = LogisticRegression(C=1 / (L2 * seen.sum()), tol=1e-10, max_iter=10_000)
    model.fit(scaled[seen], data.train.intended[seen])
    expected = scaled @ model.coef_[0] + model.intercept_[0]
    found = scr.refit("planted", x, data.train, 0, 400).logits(x).mean(0)
    assert np.corrcoef(found, expected)[0, 1] > 0.999


def test_readings_are_what_explicit_ablation_gives(world: ScrWorld) -> None:
    task = shifted(world, RIGHT)
    for selection in ABLATED:
        x = world.test_split.x.astype(float)
        for latent in task.sets[selection]:
            column = world.test_split.z[:, [latent]].toarray().astype(float)
            x = x - column * world.rows[latent].astype(float)
        for place, fit in enumerate(world.probes.fits):
            expected = x @ fit.weight[2].astype(float) + fit.bias[2]
            np.testing.assert_allclose(
                task.readings[selection]["plain"][place], expected, atol=1e-9
            )
            np.testing.assert_allclose(task.curves[selection][-1, place], expected, atol=1e-9)


def test_the_general_path_gives_the_same_figures(world: ScrWorld) -> None:
    def measured(z):
        return MeasuredRemoval(
            lambda sets: np.stack([z[:, latents] @ world.rows[latents] for latents in sets])
        )

    data = data_of(world)
    found = candidates(data.probes, data.train, world.train_split.z, world.rows, 20)
    deleted = WordDeletion((), data.x_train, data.x_test)
    general = replace(
        data,
        removal_train=measured(world.train_split.z),
        removal_test=measured(world.test_split.z),
    )
    one, other = (score_task(each, found, RIGHT, ABOUT, deleted, 0, NS) for each in (data, general))
    assert one.sets["oracle"].tolist() == other.sets["oracle"].tolist()
    assert numbers(one) == pytest.approx(numbers(other), abs=1e-4)


def test_the_worst_cell_is_the_lowest_of_four_in_every_fit(world: ScrWorld) -> None:
    task = shifted(world, RIGHT)
    table = figures(task)["shift"].details["table"]
    for selection, kinds in task.readings.items():
        for kind, logits in kinds.items():
            found = table[selection][kind]["worst"]["value"]
            assert found == pytest.approx(worst(task, logits), abs=1e-12)


def test_agreement_is_the_rank_correlation_of_ratings_and_log_effects(world: ScrWorld) -> None:
    rng = np.random.default_rng(3)
    opinions = {
        latent: opinion(int(rng.integers(5)), int(rng.integers(5))) for latent in range(LATENTS)
    }
    task = shifted(world, opinions)
    latents = task.candidates.latents
    ratings = [
        opinions[int(each)].ratings[ABOUT["spurious"]]
        - opinions[int(each)].ratings[ABOUT["intended"]]
        for each in latents
    ]
    effects = task.candidates.effects
    with np.errstate(divide="ignore"):  # one without any effect on a concept ranks last or first
        ratios = np.log(effects["spurious"][latents] / effects["intended"][latents])
    found = figures(task)["shift.agreement"]
    assert found.value == pytest.approx(spearmanr(ratings, ratios).statistic, abs=1e-12)
    assert found.ci[0] < found.value < found.ci[1]
    assert found.n == {"latents": len(latents), "pairs": len(latents)}


def test_a_judge_without_preferences_agrees_with_nothing(world: ScrWorld) -> None:
    found = figures(shifted(world, NOTHING))["shift.agreement"]
    assert (found.status, found.value) == ("undefined", None)
    assert "all candidates alike" in found.reason


# The record


def test_every_announced_estimate_is_there_and_no_other(world: ScrWorld) -> None:
    tasks = [shifted(world, RIGHT)]
    found = [
        (each.metric, {**each.params, **({"n": 20} if each.params else {})})
        for each in estimates(tasks, {}, seed=0)
    ]
    assert found == [(metric, dict(params)) for metric, params in NAMES]


def test_a_task_without_a_gap_leaves_no_shift_and_what_the_judge_did_counted() -> None:
    found = figures(shifted(scr_world(spurious=0.0), RIGHT))
    for metric in ("shift", "shift.margin", "shift.worst_cell", "shift.worst_cell.refit"):
        assert (found[metric].status, found[metric].value) == ("unable", None)
        assert "gap" in found[metric].reason
    assert found["shift.accepted"].status == "ok"
    assert found["shift"].details["excluded"][0]["task"] == "planted"
    with pytest.raises(ValueError, match="at least one task"):
        estimates([], {}, seed=0)


def test_details_are_strict_json_with_every_candidate(world: ScrWorld) -> None:
    task = shifted(world, RIGHT)
    for each in figures(task).values():
        json.dumps(dict(each.details), allow_nan=False)
    details = figures(task)["shift"].details
    rows = details["candidates"]
    assert [row["latent"] for row in rows] == sorted(task.candidates.latents.tolist())
    accepted = [row["latent"] for row in rows if row["tasks"]["planted"]["accepted"] == "spurious"]
    assert accepted == list(SPURIOUS)
    assert list(details["table"]) == ["none", "judge", "effect", "oracle", "words"]
    assert details["by_task"]["planted"]["sets"]["judge"] == task.sets["judge"].tolist()
