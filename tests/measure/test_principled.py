"""Dictionaries beside a supervised one, on the bundled model's indirect-object sentences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pytest_sae.activations.store import Store
from pytest_sae.data.attributes import AttributeTask, PrincipledSizes
from pytest_sae.metrics.supervised import fit
from pytest_sae.numbers.estimate import Estimate
from tests.measure import given as measuring
from tests.measure.planted_codes import bundled, latents_of, planted, tasks

SIZES = PrincipledSizes(edits=60)


@pytest.fixture(scope="module")
def task() -> AttributeTask:
    return tasks().principled[0]


def measured(dictionary, store: Store, task: AttributeTask) -> dict[str, Estimate]:
    found = measuring.measured(
        "principled", latents_of(dictionary, store), SIZES, principled=[task]
    )
    return {each.metric.removeprefix("principled."): each for each in found}


class World:
    """The task's activations, its values as numbers, and their conditional means."""

    def __init__(self, store: Store, task: AttributeTask) -> None:
        latents = latents_of(bundled("topk"), store)
        self.x = torch.cat([self._last(latents, half.texts) for half in (task.fit, task.test)])
        rows = [*task.fit.values, *task.test.values]
        self.names = [sorted({row[place] for row in rows}) for place in range(3)]
        self.values = np.array(
            [[self.names[p].index(value) for p, value in enumerate(row)] for row in rows]
        )
        fitted = len(task.fit.texts)
        self.features = fit(self.x[:fitted].double().numpy(), self.values[:fitted])

    def _last(self, latents, texts) -> torch.Tensor:
        found = {}
        for part in latents.tokens(texts):
            for row, x, attention in zip(
                part.batch.rows.tolist(), part.x, part.batch.attention, strict=True
            ):
                found[row] = x[int(attention.sum()) - 1]
        return torch.stack([found[row] for row in range(len(texts))])

    def codes(self) -> torch.Tensor:
        """(text, latent): one latent per value of each attribute."""
        parts = [
            torch.nn.functional.one_hot(torch.from_numpy(self.values[:, p]), len(names))
            for p, names in enumerate(self.names)
        ]
        return torch.cat(parts, dim=1)

    def rows(self) -> torch.Tensor:
        return torch.from_numpy(np.concatenate(self.features.features))


@pytest.fixture(scope="module")
def world(store: Store, task: AttributeTask) -> World:
    return World(store, task)


def test_latents_that_are_the_attributes_reach_the_supervised_dictionary(
    world: World, store: Store, task: AttributeTask
) -> None:
    found = measured(planted(world.x, world.codes(), world.rows()), store, task)
    for metric in ("sufficiency", "necessity"):
        told = found[metric].details["units"]["giving"]
        assert told["own"] == pytest.approx(told["supervised"], abs=0.01)
    control = found["control"].details["units"]["giving.indirect_object"]
    assert found["control"].value == pytest.approx(control["supervised"], abs=1e-3)
    assert control["supervised"] > 0.95
    weight = found["removed"].details["units"]["giving.indirect_object"]
    assert found["removed"].value == pytest.approx(weight["supervised"], abs=1e-3)
    assert found["f1"].value == 1
    assert found["occlusion"].value == 0
    assert found["splitting"].value == 1


def test_values_without_a_latent_are_occluded_and_cannot_be_edited(
    world: World, store: Store, task: AttributeTask
) -> None:
    codes = world.codes()
    hidden = [0, 3, 4]  # of ten names
    codes[:, hidden] = 0
    found = measured(planted(world.x, codes, world.rows()), store, task)
    assert found["occlusion"].value == pytest.approx(0.3)
    covered = found["occlusion"].details["units"]["giving"]["covered"]
    assert [name for name, share in covered.items() if share == 0] == [
        f"indirect_object={world.names[0][each]}" for each in hidden
    ]
    assert found["splitting"].value == 1
    told = found["f1"].details["units"]["giving.indirect_object"]
    assert 0.7 <= told["own"] < 0.8  # names of subjects tell a little about who receives
    whole = found["control"].details["units"]["giving.indirect_object"]
    assert whole["curve"]["8"] < whole["supervised"] - 0.1


@pytest.mark.parametrize("pieces", [2, 3])
def test_values_split_over_latents_are_counted(
    world: World, store: Store, task: AttributeTask, pieces: int
) -> None:
    codes, rows = world.codes(), world.rows()
    names = len(world.names[0])
    turn = torch.arange(len(codes)) % pieces
    split = [codes[:, :names] * (turn == piece)[:, None] for piece in range(pieces)]
    codes = torch.cat([*split, codes[:, names:]], dim=1)
    rows = torch.cat([*[rows[:names]] * pieces, rows[names:]])
    found = measured(planted(world.x, codes, rows), store, task)
    needed = found["splitting"].details["units"]["giving"]["latents"]
    own = [count for name, count in needed.items() if name.startswith("indirect_object=")]
    assert own == [pieces] * names
    others = [count for name, count in needed.items() if not name.startswith("indirect_object=")]
    assert others == [1] * len(others)
    assert found["occlusion"].value == 0
    assert found["control"].value == pytest.approx(1, abs=0.05)


def test_a_dictionary_of_nothing_is_at_the_floor_of_everything(
    world: World, store: Store, task: AttributeTask
) -> None:
    nothing = planted(world.x, torch.zeros(len(world.x), 3), torch.zeros(3, 128))
    found = measured(nothing, store, task)
    assert found["sufficiency"].value == pytest.approx(0, abs=0.01)
    assert found["necessity"].value == pytest.approx(0, abs=0.01)
    assert found["control"].value == 0
    assert found["removed"].value == 0
    assert found["f1"].value == 0
    assert found["occlusion"].value == 1
    assert found["splitting"].status == "undefined"


def test_the_trained_sae_is_above_random_weights(store: Store, task: AttributeTask) -> None:
    trained = measured(bundled("topk"), store, task)
    random = measured(bundled("random"), store, task)
    for metric in ("sufficiency", "control"):
        one, other = trained[metric], random[metric]
        assert one.ci is not None
        assert other.ci is not None
        assert one.ci[0] > other.ci[1] + 0.1, metric
    why = trained["control"].details["undefined"]
    assert set(why) == {"giving.subject", "giving.order"}
    assert all("does not depend on it" in reason for reason in why.values())


def test_a_second_measurement_is_the_same_to_the_bit(store: Store, task: AttributeTask) -> None:
    again = [measured(bundled("topk"), each, task) for each in (store, Store(None))]
    assert again[0] == again[1]


def test_without_a_task_it_has_no_data_and_says_what_is_missing(store: Store) -> None:
    found = measuring.measured("principled", latents_of(bundled("topk"), store), SIZES, "mine.toml")
    assert {each.status for each in found} == {"no_data"}
    assert {each.reason for each in found} == {"mine.toml has no [[principled]] table"}


def test_a_place_that_is_chosen_is_told_and_measured_as_if_it_had_been_named(
    store: Store, task: AttributeTask
) -> None:
    named = measured(bundled("topk"), store, task)
    chosen = measured(bundled("topk"), store, replace(task, automatic=True))
    for name, estimate in named.items():
        assert (chosen[name].value, chosen[name].ci) == (estimate.value, estimate.ci)
        (told,) = chosen[name].details["places"].values()
        assert told["read_at"] == "last"
        assert told["shares"]["last"] > told["shares"]["subject"]
        assert "places" not in estimate.details
