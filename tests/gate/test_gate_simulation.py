"""The simulation of the gate draws what it says, and gives estimators what was drawn."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from benchmarks.gate_causal import _drawn_edits, _drawn_outcome
from benchmarks.gate_draws import Draws
from pytest_sae.data.sources import named_tasks
from pytest_sae.data.tasks import Tasks
from pytest_sae.measure.scr_and_tpp import class_labels, quadrants
from pytest_sae.metrics.principled_estimates import Edits
from pytest_sae.metrics.ravel import InterchangePairs, Outcome, estimates
from pytest_sae.session.suites import SUITES


@cache
def world() -> Tasks:
    return named_tasks(None, SUITES["smoke"].sizes, 0)


def test_a_draw_leaves_every_cell_of_every_task_its_size() -> None:
    draw = Draws.of(world(), 0).of_repetition(3)
    cells = [(each.test.texts, quadrants(each.test).cells) for each in world().scr]
    cells += [(each.test.texts, class_labels(each.test)) for each in world().tpp]
    for texts, labels in cells:
        drawn = labels[draw.places(texts)]
        assert np.bincount(drawn).tolist() == np.bincount(labels).tolist()


def test_a_text_of_several_tasks_is_drawn_equally_often_for_each() -> None:
    draw = Draws.of(world(), 0).of_repetition(1)
    times: dict[str, set[int]] = {}
    for each in (*world().scr, *world().tpp):
        counts = np.bincount(draw.places(each.test.texts), minlength=len(each.test.texts))
        for text, count in zip(each.test.texts, counts.tolist(), strict=True):
            times.setdefault(text, set()).add(count)
    assert all(len(each) == 1 for each in times.values())
    assert len(times) < sum(len(each.test.texts) for each in (*world().scr, *world().tpp))


def test_repetitions_differ_and_can_be_repeated() -> None:
    draws = Draws.of(world(), 0)
    one, two, again = (draws.of_repetition(number) for number in (0, 1, 0))
    assert one.times == again.times != two.times
    assert one.corpus(50).tolist() == again.corpus(50).tolist() != two.corpus(50).tolist()
    units = np.arange(9)
    assert one.units(units, "a").tolist() == again.units(units, "a").tolist()


def outcome() -> Outcome:
    """Entity 0 is always right, entity 1 never, each with a pair of both kinds."""
    entity, cause = np.array([0, 0, 1, 1]), np.array([True, False, True, False])
    pairs = InterchangePairs(np.arange(4), np.arange(4), np.arange(4), entity, cause)
    return Outcome("cities.country", pairs, entity == 0, np.array([True, False, True, False]))


@pytest.mark.parametrize(("entities", "disentangle"), [((0, 0), 1.0), ((0, 1), 0.5), ((1, 1), 0.0)])
def test_pairs_of_an_entity_come_as_often_as_it_is_drawn(
    entities: tuple[int, int], disentangle: float
) -> None:
    drawn = _drawn_outcome(outcome(), np.array(entities))
    assert drawn.pairs.entity.tolist() == [0, 0, 1, 1]
    found = {each.metric: each.value for each in estimates([drawn], {}, 0)}
    assert found["ravel.disentangle"] == disentangle


def edits(seed: int, group: list[int]) -> Edits:
    values = np.array(group) + 10.0 * seed
    return Edits(
        "name", np.array(group), np.array(group), values, {2: values}, values, {2: values}, values
    )


def test_each_drawn_group_brings_the_edits_of_its_own_seed() -> None:
    seeds = [edits(0, [0, 1, 1]), edits(1, [0, 0, 1])]
    drawn = _drawn_edits(seeds, np.array([1, 0, 1]), np.array([0, 1, 1]))
    assert drawn.group.tolist() == [0, 0, 1, 1, 2]
    assert drawn.clean.tolist() == [1.0, 1.0, 10.0, 10.0, 11.0]
    assert drawn.edited[2].tolist() == drawn.clean.tolist()
