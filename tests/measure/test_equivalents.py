"""No metric of any family may tell a dictionary from one that says the same in other words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.families.registry import cards
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.numbers.keys import metric_key
from pytest_sae.session.session import EvalSession
from pytest_sae.synthetic.equivalent import renumbered, rescaled
from tests.labelled import labelled_data
from tests.sessions import opened
from tests.tiny import tiny_model, tiny_sae

UNJUDGED = [card.name for card in cards() if not card.judged]
# Their definition has a latent's units in it.
OF_UNITS = {
    "l1": "a sum of latents",
    "decoder_norm": "the norm of what one unit writes",
    "sparse_probing.canonical": "as published, latents are ranked and penalised in their own units",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("world")
    tiny_model(directory / "model")
    (directory / "data").mkdir()
    labelled_data(directory / "data", per_cell=60)
    tiny_sae(directory / "topk", model=str(directory / "model"))
    return directory


@pytest.fixture(scope="module")
def session(world: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalSession:
    return opened(world, "topk", cache=str(tmp_path_factory.mktemp("cache")))[0]


def order(dictionary: Dictionary) -> Dictionary:
    shuffled = torch.randperm(dictionary.d_sae, generator=torch.Generator().manual_seed(1))
    return renumbered(dictionary, shuffled)


def units(dictionary: Dictionary) -> Dictionary:
    powers = torch.randint(-3, 4, (dictionary.d_sae,), generator=torch.Generator().manual_seed(2))
    return rescaled(dictionary, 2.0**powers)


@pytest.mark.parametrize("change", [order, units])
@pytest.mark.parametrize("family", UNJUDGED)
def test_the_numbering_and_the_units_of_latents_change_no_figure(
    world: Path, session: EvalSession, family: str, change: Callable[[Dictionary], Dictionary]
) -> None:
    sae = opened(world, "topk")[1]
    other = replace(sae, id=f"{sae.id} {change.__name__}", dictionary=change(sae.dictionary))
    before, after = figures(session, family, sae), figures(session, family, other)
    assert before.keys() == after.keys()
    for key, estimate in before.items():
        if change is units and estimate.metric in OF_UNITS:
            continue
        assert after[key].status == estimate.status, key
        assert after[key].value == near(estimate.value), key
        assert after[key].se == near(estimate.se), key


@pytest.mark.parametrize("family", UNJUDGED)
def test_a_value_is_inside_the_range_that_it_declares(
    world: Path, session: EvalSession, family: str
) -> None:
    sae = opened(world, "topk")[1]
    for each in session.measure(family, sae):
        value, spec = each.estimate.value, each.spec
        if value is not None:
            assert spec.low is None or value >= spec.low - 1e-9, each.key
            assert spec.high is None or value <= spec.high + 1e-9, each.key


def near(value: float | None) -> object:
    return None if value is None else pytest.approx(value, rel=1e-3, abs=1e-5)


def figures(session: EvalSession, family: str, sae: object) -> dict[str, Estimate]:
    found = session.measure(family, sae)  # type: ignore[arg-type]
    return {metric_key(m.estimate.metric, m.estimate.params): m.estimate for m in found}
