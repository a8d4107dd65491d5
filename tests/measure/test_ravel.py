"""RAVEL on the bundled model's city facts: planted, trained and random dictionaries."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pytest_sae.activations.store import Store
from pytest_sae.data.entities import EntityTask, RavelSizes
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.measure.ravel import Asked
from pytest_sae.numbers.bootstrap import generator
from pytest_sae.numbers.estimate import Estimate
from tests.measure import given as measuring
from tests.measure.planted_codes import bundled, latents_of, planted, tasks

SIZES = RavelSizes(templates=2, train_pairs=120, test_pairs=60, steps=30)


@pytest.fixture(scope="module")
def task() -> EntityTask:
    """Two of the attributes, so that half of the time will do."""
    return only(tasks().ravel[0], 0, 2)


def only(task: EntityTask, *places: int) -> EntityTask:
    number = {place: new for new, place in enumerate(places)}
    return replace(
        task,
        attributes=tuple(task.attributes[place] for place in places),
        entities={
            split: tuple(replace(e, values=tuple(e.values[p] for p in places)) for e in known)
            for split, known in task.entities.items()
        },
        templates={
            split: tuple(
                replace(t, attribute=number[t.attribute]) for t in asked if t.attribute in number
            )
            for split, asked in task.templates.items()
        },
    )


def measured(
    dictionary: Dictionary, store: Store, task: EntityTask, sizes: RavelSizes = SIZES
) -> list[Estimate]:
    return measuring.measured("ravel", latents_of(dictionary, store), sizes, ravel=[task])


def answers_as_latents(store: Store, task: EntityTask) -> Dictionary:
    """One latent per question and answer, which writes the mean activation of its prompts."""
    asked = Asked.of(latents_of(bundled("topk"), store), task, 0, SIZES)
    x = asked.prompts.rows
    cells = [(int(a), int(v[a])) for a, v in zip(asked.about, asked.values, strict=True)]
    order = sorted(set(cells))
    codes = torch.zeros(len(cells), len(order))
    for text, cell in enumerate(cells):
        codes[text, order.index(cell)] = 1
    return planted(x, codes, codes.T @ x / codes.sum(0)[:, None])


def test_latents_that_are_the_attributes_disentangle_them(store: Store, task: EntityTask) -> None:
    found = measured(answers_as_latents(store, task), store, task)
    assert [each.value for each in found] == [1, 1, 1, 1]
    ravel = found[0]
    assert ravel.n["attributes"] == 2
    for told in ravel.details["attributes"].values():
        assert told["whole_activation"] == 1
        assert told["floors"] == {"nothing": 0.5, "everything": pytest.approx(0.5, abs=0.05)}


def test_a_dictionary_of_nothing_is_at_the_floor(store: Store, task: EntityTask) -> None:
    nothing = planted(torch.zeros(1, 128), torch.zeros(1, 4), torch.zeros(4, 128))
    found = measured(nothing, store, task)
    assert [each.value for each in found] == [0, 0.5, 0, 1]


def test_the_trained_sae_is_above_random_weights(store: Store, task: EntityTask) -> None:
    trained, *_ = measured(bundled("topk"), store, task)
    random, *_ = measured(bundled("random"), store, task)
    assert trained.ci is not None
    assert random.ci is not None
    assert trained.ci[0] > max(random.ci[1], 0)
    assert (random.value or 0) < 0.05


def test_entities_that_the_model_does_not_read_at_their_token_are_no_task_for_it(
    store: Store, task: EntityTask
) -> None:
    found = measured(bundled("topk"), store, replace(task, position="entity"))
    assert {each.status for each in found} == {"unable"}
    assert "the model does not read it there" in found[0].reason
    assert "cities.country" in found[0].reason
    assert "cities.language" in found[0].reason


def test_test_pairs_share_no_entity_and_no_template_with_training_pairs(
    store: Store, task: EntityTask
) -> None:
    asked = Asked.of(latents_of(bundled("topk"), store), task, 0, SIZES)
    split = (asked.taught[0], asked.test)
    train, test = (asked.pairs(0, among, generator(0, "name"), 100) for among in split)
    for numbers in (asked.entity, asked.template):
        ends = [set(numbers[pairs.base]) | set(numbers[pairs.source]) for pairs in (train, test)]
        assert not ends[0] & ends[1]
    for pairs in (train, test):
        assert (asked.template[pairs.base] == asked.template[pairs.source]).all()
        assert (asked.values[pairs.base, 0] != asked.values[pairs.source, 0]).all()
        assert (asked.about[pairs.base] == 0)[pairs.cause].all()
        assert (asked.about[pairs.base] != 0)[~pairs.cause].all()
        assert asked.right[pairs.base].all()
        assert len(set(zip(pairs.base.tolist(), pairs.source.tolist(), strict=True))) == len(pairs)


def test_every_mask_is_trained_on_templates_of_its_own_as_far_as_there_are(
    store: Store, task: EntityTask
) -> None:
    asked = Asked.of(latents_of(bundled("topk"), store), task, 0, SIZES)
    used = [set(asked.template[among].tolist()) for among in asked.taught]
    assert [len(each) for each in used] == [2 * len(task.attributes)] * SIZES.masks
    assert len(set.union(*used)) > 2 * len(task.attributes)
    assert not (asked.taught & asked.test).any()


def test_a_second_measurement_is_the_same_to_the_bit(store: Store, task: EntityTask) -> None:
    few = replace(SIZES, train_pairs=30, test_pairs=20, steps=3)
    torch.manual_seed(1)
    first = measured(bundled("topk"), store, task, few)
    torch.manual_seed(2)
    second = measured(bundled("topk"), Store(None), task, few)
    assert first == second


def test_without_a_task_it_has_no_data_and_says_what_is_missing(store: Store) -> None:
    found = measuring.measured("ravel", latents_of(bundled("topk"), store), SIZES, "mine.toml")
    assert {each.status for each in found} == {"no_data"}
    assert {each.reason for each in found} == {"mine.toml has no [[ravel]] table"}
