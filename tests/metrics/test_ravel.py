"""RAVEL on a linear toy whose attributes are known, and its figures by explicit counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.metrics.ravel import (
    InterchangePairs,
    MaskSchedule,
    Outcome,
    estimates,
    train_mask,
)
from pytest_sae.numbers.bootstrap import generator

COUNTRIES, LANGUAGES = 6, 4
D = COUNTRIES + LANGUAGES


class Toy:
    """Entities with two attributes; a prompt asks for one, and the answer is read off linearly.

    The activation is the sum of the one-hot vectors of both values; the "model above the site"
    looks at the part of the activation that the question is about.
    """

    def __init__(self, entities: int = 20, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.values = np.stack(
            [rng.integers(COUNTRIES, size=entities), rng.integers(LANGUAGES, size=entities)], 1
        )
        self.x = np.zeros((entities, D))
        self.x[np.arange(entities), self.values[:, 0]] = 1
        self.x[np.arange(entities), COUNTRIES + self.values[:, 1]] = 1

    def logits(self, about: np.ndarray, rows: torch.Tensor) -> torch.Tensor:
        parts = torch.zeros(2, D)
        parts[0, :COUNTRIES], parts[1, COUNTRIES:] = 1, 1
        return 20 * rows * parts[torch.from_numpy(about)]

    def pairs(self, attribute: int) -> tuple[InterchangePairs, np.ndarray]:
        """All pairs that a question about either attribute makes, and what each asks about."""
        rows = []
        for base, own in enumerate(self.values):
            for source, other in enumerate(self.values):
                if (own != other).all():
                    rows += [(base, source, about) for about in (0, 1)]
        base, source, about = (np.array(column) for column in zip(*rows, strict=True))
        cause = about == attribute
        who = np.where(cause, source, base)
        target = self.values[who, about] + COUNTRIES * about
        return InterchangePairs(base, source, target, base, cause), about


def judged(
    toy: Toy, z: np.ndarray, rows: np.ndarray, attribute: int
) -> tuple[np.ndarray, list[float]]:
    """Train a mask for an attribute and return it with (ravel, disentangle, cause, isolation)."""
    pairs, about = toy.pairs(attribute)
    x, codes, decoder = (torch.from_numpy(each).float() for each in (toy.x, z, rows))

    def answer(chosen: np.ndarray, mask: torch.Tensor) -> torch.Tensor:
        change = (codes[pairs.source[chosen]] - codes[pairs.base[chosen]]) * mask @ decoder
        return toy.logits(about[chosen], x[pairs.base[chosen]] + change)

    mask = train_mask(answer, pairs, z.shape[1], generator(0, "toy"), MaskSchedule(steps=80))
    everything = np.arange(len(pairs))

    def hits(kept: torch.Tensor) -> np.ndarray:
        return answer(everything, kept).argmax(1).numpy() == pairs.target

    whole = toy.logits(about, x[pairs.source]).argmax(1).numpy() == pairs.target
    outcome = Outcome("toy", pairs, hits(torch.from_numpy(mask).float())[None], whole)
    return mask, [float(each.value or 0) for each in estimates([outcome], {}, 0)]


@pytest.mark.parametrize("attribute", [0, 1])
def test_latents_that_are_the_attribute_disentangle_it_completely(attribute: int) -> None:
    toy = Toy()
    mask, found = judged(toy, toy.x, np.eye(D), attribute)
    own = np.arange(D) < COUNTRIES if attribute == 0 else np.arange(D) >= COUNTRIES
    used = np.unique(np.concatenate([toy.values[:, 0], COUNTRIES + toy.values[:, 1]]))
    assert (mask[used] == own[used]).all()
    assert found == [1, 1, 1, 1]


def test_a_dictionary_of_nothing_is_at_the_floor() -> None:
    toy = Toy()
    _, found = judged(toy, np.zeros((20, 3)), np.zeros((3, D)), 0)
    assert found == [0, 0.5, 0, 1]


def test_a_dictionary_that_writes_past_the_model_is_at_the_floor() -> None:
    toy = Toy()
    _, found = judged(toy, toy.x, np.zeros((D, D)), 0)
    assert found == [0, 0.5, 0, 1]


def test_latents_that_hold_both_attributes_at_once_disentangle_nothing() -> None:
    toy = Toy()
    # One latent per entity: it can only be exchanged with all that is true of the entity.
    _, found = judged(toy, np.eye(20), toy.x, 0)
    ravel, disentangle, *_ = found
    assert disentangle <= 0.75
    assert ravel <= 0.5
    _, apart = judged(toy, toy.x, np.eye(D), 0)
    assert ravel < apart[0]


def test_a_mask_needs_pairs_of_both_kinds() -> None:
    pairs, _ = Toy().pairs(0)
    only = InterchangePairs(
        pairs.base[pairs.cause],
        pairs.source[pairs.cause],
        pairs.target[pairs.cause],
        pairs.entity[pairs.cause],
        pairs.cause[pairs.cause],
    )
    with pytest.raises(ValueError, match="one kind is missing"):
        train_mask(lambda *_: torch.zeros(1, 2), only, 3, generator(0), MaskSchedule())


def test_the_mask_depends_on_its_generator_alone() -> None:
    toy = Toy()
    torch.manual_seed(1)
    first, _ = judged(toy, toy.x, np.eye(D), 0)
    torch.manual_seed(2)
    second, _ = judged(toy, toy.x, np.eye(D), 0)
    assert (first == second).all()


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_figures_are_those_of_explicit_counting(data: st.DataObject) -> None:
    outcomes, expected, roomless = [], [], set()
    for attribute in ("a", "b"):
        size = data.draw(st.integers(4, 12))
        cause = np.array([place % 2 == 0 for place in range(size)])
        bits = st.lists(st.booleans(), min_size=size, max_size=size)
        masked = np.array(data.draw(bits))
        everything = np.array(data.draw(bits | st.just([True] * size)))
        entity = np.arange(size) // 2
        pairs = InterchangePairs(entity, entity, entity, entity, cause)
        outcomes.append(Outcome(attribute, pairs, masked[None], everything))
        accuracy = [
            sum(h for h, c in zip(hits, cause, strict=True) if c == kind) / (cause == kind).sum()
            for hits in (masked, everything)
            for kind in (True, False)
        ]
        both = (accuracy[0] + accuracy[1]) / 2
        floor = max(0.5, (accuracy[2] + accuracy[3]) / 2)
        if floor == 1:
            roomless.add(attribute)
            continue
        expected.append(((both - floor) / (1 - floor), both, accuracy[0], accuracy[1]))
    for place, estimate in enumerate(estimates(outcomes, {}, 0)):
        if expected:
            assert estimate.value == pytest.approx(np.mean([each[place] for each in expected]))
            assert estimate.n["attributes_expected"] == 2
        else:
            assert estimate.status == "unable"
            assert all(name in estimate.reason for name in roomless)


def test_attributes_that_could_not_be_measured_are_named_and_counted() -> None:
    pairs = InterchangePairs(*(np.array([0, 1]) for _ in range(4)), np.array([True, False]))
    hits = np.array([True, True])
    found = estimates([Outcome("a", pairs, hits[None], ~hits)], {"b": "not read there"}, 0)
    assert found[0].n["attributes"] == 1
    assert found[0].n["attributes_expected"] == 2
    assert found[0].details["undefined"] == {"b": "not read there"}
    nothing = estimates([], {"b": "not read there"}, 0)
    assert {each.status for each in nothing} == {"unable"}
    assert "b: not read there" in nothing[0].reason


def test_pairs_of_one_entity_are_drawn_together() -> None:
    # The same pairs, as 40 entities and as 4 with ten copies of each pair.
    cause = np.tile([True, False], 20)
    hits = np.repeat([True, True, False, True, False, False, True, True], 5)
    entities = [np.repeat(np.arange(20), 2), np.repeat(np.arange(4), 10)]
    ses = [
        estimates(
            [Outcome("a", InterchangePairs(e, e, e, e, cause), hits[None], np.zeros(40, bool))],
            {},
            0,
        )[1].se
        for e in entities
    ]
    assert ses[0] is not None
    assert ses[1] is not None
    assert ses[1] > ses[0]


def test_masks_that_differ_are_in_the_error_as_two_kinds_of_chance_that_add_up() -> None:
    # All answers on one entity's pairs are alike, so that entities add nothing: the error of the
    # mean of three masks is their standard deviation by the square root of three.
    cause = np.tile([True, False], 20)
    entity = np.repeat(np.arange(20), 2)
    pairs = InterchangePairs(entity, entity, entity, entity, cause)
    masked = np.stack([np.tile(each, 20) for each in ([True, False], [True, True], [False, True])])
    found = {e.metric: e for e in estimates([Outcome("a", pairs, masked, ~cause & cause)], {}, 0)}
    expected = np.std([1.0, 1.0, 0.0], ddof=1) / np.sqrt(3)
    assert found["ravel.cause"].value == pytest.approx(2 / 3)
    assert found["ravel.cause"].se == pytest.approx(expected, rel=0.1)
    assert found["ravel.cause"].seeds == 3


def test_one_mask_leaves_the_masks_out_of_the_error() -> None:
    cause = np.tile([True, False], 20)
    entity = np.repeat(np.arange(20), 2)
    pairs = InterchangePairs(entity, entity, entity, entity, cause)
    found = estimates([Outcome("a", pairs, cause[None], ~cause & cause)], {}, 0)
    assert found[1].se == 0
