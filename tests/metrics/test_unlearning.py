"""Which latents are clamped, and what is made of the answers, on cases known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_sae.metrics.unlearning import Curve, Missing, Setting, chosen, estimates

SETTINGS = [Setting(0.01, 10, m) for m in (1, 4, 16)]
UNITS = np.arange(20)


def curve(forget: list[float], retain: list[float]) -> Curve:
    """One accuracy per setting, the same for every question."""
    one = np.ones(20)
    return Curve(
        "task",
        np.outer(forget, one),
        np.outer(retain, one),
        UNITS,
        UNITS,
        SETTINGS,
    )


def test_latents_are_those_that_fire_most_on_one_corpus_and_rarely_on_the_other() -> None:
    forget = np.array([0.5, 0.2, 0.4, 0.0, 0.3])
    retain = np.array([0.2, 0.0, 0.005, 0.0, 0.0099])
    assert chosen(forget, retain, 0.01, 2).tolist() == [2, 4]
    assert chosen(forget, retain, 0.01, 9).tolist() == [2, 4, 1]
    assert chosen(forget, retain, 0.001, 9).tolist() == [1]
    assert chosen(forget, np.ones(5), 0.01, 9).tolist() == []


def test_fewer_latents_are_a_part_of_more() -> None:
    rng = np.random.default_rng(0)
    forget, retain = rng.random(50), 0.02 * rng.random(50)
    assert (
        chosen(forget, retain, 0.01, 20)[:10].tolist() == chosen(forget, retain, 0.01, 10).tolist()
    )


def test_the_setting_that_forgets_most_among_those_that_retain_is_measured() -> None:
    forgotten, retained = estimates([curve([0.8, 0.25, 0.0], [1.0, 1.0, 0.5])], {}, 0)
    assert forgotten.value == pytest.approx(0.75)
    assert retained.value == 1
    assert forgotten.details["tasks"]["task"]["chosen"] == [{"rarest": 0.01, "n": 10, "m": 4}] * 2


def test_a_dictionary_that_cannot_forget_without_damage_does_nothing() -> None:
    forgotten, retained = estimates([curve([0.9, 0.2, 0.0], [0.98, 0.6, 0.3])], {}, 0)
    assert forgotten.value == 0
    assert retained.value == 1
    assert forgotten.details["tasks"]["task"]["chosen"] == [{"nothing": True}] * 2


def test_a_setting_that_forgets_nothing_is_not_preferred_to_doing_nothing() -> None:
    found = estimates([curve([1.0, 1.0, 1.0], [1.0, 1.0, 1.0])], {}, 0)
    assert found[0].details["tasks"]["task"]["chosen"] == [{"nothing": True}] * 2


def test_what_is_chosen_on_one_half_is_measured_on_the_other() -> None:
    # Two settings, each of which forgets a different random half of the questions: whichever
    # looks better where it is chosen is no better elsewhere.
    values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        forget = (rng.random((8, 20)) < 0.5).astype(float)
        settings = [Setting(0.01, 10, m) for m in range(8)]
        one = Curve("task", forget, np.ones((8, 20)), UNITS, UNITS, settings)
        value = estimates([one], {}, seed)[0].value
        assert value is not None
        values.append(value)
    assert np.mean(values) == pytest.approx(0.5, abs=0.04)


def test_each_question_is_measured_at_the_other_halfs_choice() -> None:
    rng = np.random.default_rng(3)
    forget = rng.random((3, 20))
    one = Curve("task", forget, np.ones((3, 20)), UNITS, UNITS, SETTINGS)
    found = estimates([one], {}, 0)[0]
    chosen_m = [each["m"] for each in found.details["tasks"]["task"]["chosen"]]
    picks = [[s.m for s in SETTINGS].index(m) for m in chosen_m]
    # Some half of the questions is consistent with both choices and with the value.
    from pytest_sae.numbers.bootstrap import generator

    order = generator(0, "unlearning", "task", "forget", "halves").permutation(UNITS)
    half = np.isin(UNITS, order[:10])
    assert picks[0] == forget[:, ~half].mean(1).argmin()
    assert picks[1] == forget[:, half].mean(1).argmin()
    right = np.where(half, forget[picks[0]], forget[picks[1]])
    assert found.value == pytest.approx(1 - right.mean())


def test_questions_of_one_unit_stay_together_and_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    forget = np.repeat((rng.random((1, 8)) < 0.5).astype(float), 10, axis=1)
    alone = Curve("t", forget, np.ones((1, 80)), np.arange(80), np.arange(80), SETTINGS[:1])
    units = np.repeat(np.arange(8), 10)
    together = Curve("t", forget, np.ones((1, 80)), units, np.arange(80), SETTINGS[:1])
    ses = [estimates([each], {}, 0)[0].se for each in (alone, together)]
    assert ses[0] is not None
    assert ses[1] is not None
    assert ses[1] > 1.5 * ses[0]


def test_a_task_that_could_not_be_measured_is_named_and_counted() -> None:
    other = {"other": Missing("no latent")}
    found = estimates([curve([0.5, 0.5, 0.5], [1.0, 1.0, 1.0])], other, 0)
    assert found[0].n["tasks_expected"] == 2
    assert found[0].details["undefined"] == {"other": "no latent"}
    assert {each.status for each in estimates([], other, 0)} == {"undefined"}


def test_what_the_model_does_not_know_is_said_of_the_model_where_nothing_else_is_amiss() -> None:
    ignorant = {"one": Missing("2 of 40 rightly", of_model=True)}
    assert {each.status for each in estimates([], ignorant, 0)} == {"unable"}
    both = {**ignorant, "other": Missing("no latent")}
    assert {each.status for each in estimates([], both, 0)} == {"undefined"}
