"""Edits, best latents, occlusion and over-splitting on dictionaries made to have them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from pytest_sae.metrics.principled import (
    best_latents,
    covering,
    exchange,
    f1_counts,
    predictions,
    specific,
)
from pytest_sae.metrics.principled_estimates import (
    NAMES,
    Answers,
    Edits,
    TaskReadings,
    Values,
    estimates,
)

VALUES = np.tile(np.repeat(np.arange(4), 3), 10)  # 120 texts, 30 of each of four values
GROUP = np.repeat(np.arange(10), 12)
ONE_EACH = VALUES[:, None] == np.arange(4)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_the_first_latent_exchanged_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    change, rows = rng.standard_normal((3, 5)), rng.standard_normal((6, 5))
    base, other = rng.random((3, 6)).round(), rng.random((3, 6)).round()
    (found,) = exchange(change, base, other, rows, 1)
    for edit in range(3):
        left = [np.linalg.norm(change[edit] - (other - base)[edit, j] * rows[j]) for j in range(6)]
        before = np.linalg.norm(change[edit])
        if found[edit] < 0:
            assert min(left) >= before - 1e-9
        else:
            assert left[found[edit]] == pytest.approx(min(left))


def test_orthogonal_latents_are_exchanged_in_the_order_of_what_they_write() -> None:
    base, other = np.zeros((1, 4)), np.array([[1.0, 3.0, 0.0, 2.0]])
    found = exchange(other.copy(), base, other, np.eye(4), 4)
    assert found[:, 0].tolist() == [1, 3, 0, -1]


def test_as_many_latents_as_differ_are_all_of_the_edit() -> None:
    rng = np.random.default_rng(0)
    rows = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    base, other = rng.random((5, 8)), rng.random((5, 8))
    chosen = exchange((other - base) @ rows, base, other, rows, 8)
    assert (np.sort(chosen, axis=0) == np.arange(8)[:, None]).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_f1_is_that_of_sklearn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    active, values = rng.random((40, 6)) < 0.4, rng.integers(3, size=40)
    best = best_latents(active, values, 3)
    counts = f1_counts(predictions(active, best), values, 3, np.arange(40) % 5, 5).sum(0)
    for value in range(3):
        scores = [f1_score(values == value, active[:, j], zero_division=0) for j in range(6)]
        assert counts[value, 0] / counts[value, 1] == pytest.approx(max(scores))


def test_latents_that_never_fire_are_nobodys() -> None:
    nothing = np.zeros((120, 3), bool)
    assert best_latents(nothing, VALUES, 4).tolist() == [-1] * 4
    assert not predictions(nothing, np.full(4, -1)).any()
    assert not specific(nothing, VALUES, 4).any()


def test_a_dictionary_without_any_active_latent_edits_and_tells_nothing() -> None:
    none = np.zeros((120, 0), bool)
    empty = np.zeros((5, 0))
    assert (exchange(np.ones((5, 3)), empty, empty, np.zeros((0, 3)), 4) == -1).all()
    assert best_latents(none, VALUES, 4).tolist() == [-1] * 4
    assert not predictions(none, np.full(4, -1)).any()
    found = covering(none, VALUES, specific(none, VALUES, 4))
    assert not any(each.covered.any() for each in found)


def test_a_latent_per_value_covers_it_alone() -> None:
    own = specific(ONE_EACH, VALUES, 4)
    assert (own == np.eye(4, dtype=bool)).all()
    found = covering(ONE_EACH, VALUES, own)
    assert [each.needed for each in found] == [1] * 4
    assert all(each.covered.all() for each in found)


@pytest.mark.parametrize("pieces", [1, 2, 3, 5])
def test_a_value_split_into_pieces_needs_as_many_latents(pieces: int) -> None:
    active = np.zeros((120, 3 + pieces), bool)
    active[:, :3] = ONE_EACH[:, 1:]
    texts = np.flatnonzero(VALUES == 0)
    active[texts, 3 + np.arange(len(texts)) % pieces] = True
    found = covering(active, VALUES, specific(active, VALUES, 4))
    assert [each.needed for each in found] == [pieces, 1, 1, 1]


def test_a_latent_of_two_values_belongs_to_neither() -> None:
    both = ONE_EACH[:, [0]] | ONE_EACH[:, [1]]
    assert not specific(both, VALUES, 4).any()


def test_a_latent_that_always_fires_belongs_to_no_value_however_common() -> None:
    common = (np.arange(120) % 10 == 0).astype(int)  # nine texts in ten have value 0
    assert not specific(np.ones((120, 1), bool), common, 2).any()


def readings(active: np.ndarray, kl: float = 2.0, edited: float = 0.5) -> TaskReadings:
    """A task in which every edit moves the model by `kl` nats and `edited` are left."""
    ones = np.ones(120)
    best = best_latents(active, VALUES, 4)
    guessed = predictions(active, best)
    return TaskReadings(
        "task",
        10,
        Answers(GROUP, 5 * ones, ones, {"own": 4 * ones, "supervised": 5 * ones},
                {"own": 2 * ones, "supervised": ones}),
        [
            Edits(
                "name", GROUP, VALUES, kl * ones,
                dict.fromkeys((1, 2, 4, 8), edited * ones), 0.1 * ones,
                {k: 0.1 * k * ones for k in (1, 2, 4, 8)}, 0.4 * ones,
            )
        ],
        [
            Values(
                "name", list("abcd"), GROUP,
                {"own": f1_counts(guessed, VALUES, 4, GROUP, 10),
                 "supervised": f1_counts(ONE_EACH, VALUES, 4, GROUP, 10)},
                VALUES,
                covering(active, VALUES, specific(active, VALUES, 4)),
            )
        ],
    )  # fmt: skip


def values_of(task: TaskReadings) -> dict[str, float | None]:
    return {each.metric.removeprefix("principled."): each.value for each in estimates([task], 0)}


def test_the_figures_of_a_dictionary_that_is_the_attribute() -> None:
    assert values_of(readings(ONE_EACH, edited=0.0)) == pytest.approx(
        {
            "sufficiency": 0.75,
            "necessity": 0.75,
            "control": 1.0,
            "removed": 0.2,
            "f1": 1.0,
            "occlusion": 0.0,
            "splitting": 1.0,
        }
    )


def test_figures_are_also_told_relative_to_the_supervised_dictionary() -> None:
    found = {each.metric: each for each in estimates([readings(ONE_EACH)], 0)}
    sufficiency = found["principled.sufficiency"].details["units"]["task"]
    assert sufficiency["relative"] == pytest.approx(0.75 / 1)
    control = found["principled.control"].details["units"]["task.name"]
    assert control["relative"] == pytest.approx((1 - 0.5 / 2) / (1 - 0.1 / 2))


def test_a_dictionary_without_a_latent_for_two_of_four_values_occludes_half() -> None:
    active = np.concatenate([ONE_EACH[:, :2], np.zeros((120, 2), bool)], axis=1)
    found = values_of(readings(active))
    assert found["occlusion"] == 0.5
    assert found["splitting"] == 1
    assert found["f1"] == pytest.approx((1 + 1 + 0 + 0) / 4)


def test_a_dictionary_that_splits_every_value_in_three_is_said_to() -> None:
    active = np.zeros((120, 12), bool)
    active[np.arange(120), 3 * VALUES + np.arange(120) % 3] = True
    found = values_of(readings(active))
    assert found["splitting"] == 3
    assert found["occlusion"] == 0
    assert found["f1"] == pytest.approx(2 * (1 / 3) / (1 + 1 / 3))


def test_a_dictionary_of_nothing_controls_nothing() -> None:
    found = values_of(readings(np.zeros((120, 4), bool), edited=2.0))
    assert found["control"] == 0
    assert found["occlusion"] == 1
    assert found["splitting"] is None
    assert found["f1"] == 0


def test_an_attribute_that_moves_nothing_is_said_of_the_model_with_its_reason() -> None:
    found = {each.metric: each for each in estimates([readings(ONE_EACH, kl=0.1)], 0)}
    for metric in ("principled.control", "principled.removed", "principled.occlusion"):
        assert found[metric].status == "unable"
    assert "does not depend on it" in found["principled.control"].reason
    assert found["principled.f1"].value == 1


def test_a_task_that_the_site_does_not_carry_is_said_of_the_model_with_its_reason() -> None:
    task = readings(ONE_EACH)
    still = replace(task, answers=replace(task.answers, mean=task.answers.clean))
    found = estimates([still], 0)
    assert [each.metric for each in found] == [name for name, _ in NAMES]
    assert found[0].status == "unable"
    assert "costs no logit difference" in found[0].reason


def test_shares_are_ratios_of_sums_with_intervals_over_groups() -> None:
    rng = np.random.default_rng(0)
    task = readings(ONE_EACH)
    left = rng.random(120)
    edits = replace(task.edits[0], edited=dict.fromkeys((1, 2, 4, 8), left))
    found = next(
        each
        for each in estimates([replace(task, edits=[edits])], 0)
        if each.metric == "principled.control"
    )
    assert found.value == pytest.approx(1 - left.sum() / (2 * 120))
    group_means = left.reshape(10, 12).mean(1)
    assert found.se == pytest.approx(group_means.std(ddof=1) / np.sqrt(10) / 2, rel=0.15)


@pytest.mark.parametrize("absent", [1, 4])
def test_values_without_a_held_out_text_have_no_f1_and_leave_the_others_theirs(absent: int) -> None:
    task = readings(ONE_EACH)
    counts = {who: each.copy() for who, each in task.values[0].f1.items()}
    for each in counts.values():
        each[:, :absent] = 0
    values = replace(task.values[0], f1=counts)
    (found,) = (
        each
        for each in estimates([replace(task, values=[values])], 0)
        if each.metric == "principled.f1"
    )
    above, below = (counts["own"][:, :, side].sum(0) for side in (0, 1))
    if absent == 4:
        assert found.status == "undefined"
        assert found.reason.endswith("none of its values stands in the held-out texts")
    else:
        assert found.value == pytest.approx((above[absent:] / below[absent:]).mean())


def test_a_task_that_could_not_be_read_is_named_and_takes_no_other_with_it() -> None:
    alone = estimates([readings(ONE_EACH)], 0)
    found = estimates([readings(ONE_EACH)], 0, {"bad": "a text has no token of its own"})
    assert [each.value for each in found] == [each.value for each in alone]
    for each in found:
        assert each.details["undefined"]["bad"] == "a text has no token of its own"
