"""What the house reads off the cards is there, and is the same wherever it is told."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from inspect import signature
from itertools import pairwise
from pathlib import Path

import pytest

from pytest_sae.families import JUDGED, NAMES, registry
from pytest_sae.families.card import SUITES, Card, found, grid, higher, per_suite
from pytest_sae.families.registry import (
    card_of,
    cards,
    heading_of,
    known,
    place_of,
    register,
    register_card,
    spec_of,
)
from pytest_sae.gate.bounds import load_thresholds
from pytest_sae.measure.given import Given
from pytest_sae.metrics import protocol
from pytest_sae.numbers.control import CONTROLS
from pytest_sae.numbers.keys import parse_key
from pytest_sae.run.run import shipped_thresholds
from pytest_sae.session.suites import SUITES as SIZES


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "_CARDS", dict(registry._CARDS))
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))


def a_card(name: str = "guests", metric: str = "guests_share", **more: object) -> Card:
    spec = higher(metric, "share of guests")
    return Card(name=name, title="Guests", measure="guests:measure", metrics=(spec,), **more)


def test_names_and_judged_families_say_what_the_cards_say() -> None:
    assert [card.name for card in cards()] == list(NAMES)
    assert {card.name for card in cards() if card.judged} == JUDGED


@pytest.mark.parametrize("card", cards(), ids=lambda card: card.name)
def test_a_card_names_a_function_that_takes_what_is_given(card: Card) -> None:
    (given,) = signature(found(card.measure), eval_str=False).parameters.values()
    assert given.annotation in (Given, "Given")
    if card.word_deletion:
        assert list(signature(found(card.word_deletion)).parameters) == ["given"]
    assert card.word_deletion or "word_deletion" not in card.more_controls + card.cheap_controls


@pytest.mark.parametrize("card", cards(), ids=lambda card: card.name)
def test_sizes_are_said_for_every_suite_and_controls_exist(card: Card) -> None:
    assert set(card.sizes) in (set(), set(SUITES))
    assert len({frozenset(sizes) for sizes in card.sizes.values()}) <= 1
    assert {*card.cheap_controls, *card.more_controls} <= set(CONTROLS)


def test_no_metric_stands_on_two_cards() -> None:
    names = [spec.name for card in cards() for spec in card.metrics]
    assert len(set(names)) == len(names)
    assert sorted(names) == known()


def test_the_headline_n_of_cards_is_that_of_the_protocol() -> None:
    for family in ("scr", "tpp"):
        for _, params in card_of(family).named:
            assert params["n"] in (protocol.HEADLINE_N, protocol.setting_of(protocol.FEW))


def test_every_suite_that_an_option_may_name_has_its_sizes() -> None:
    assert set(SIZES) == set(SUITES)


def test_metrics_of_one_heading_are_neighbours_in_reports() -> None:
    headings = [heading_of(name) for name in sorted(known(), key=place_of)]
    changes = sum(one != other for one, other in pairwise(headings))
    assert changes == len(set(headings)) - 1


def test_every_shipped_rule_is_about_a_metric_of_a_card() -> None:
    names = {parse_key(name)[0] for name in load_thresholds(shipped_thresholds()).rules}
    assert names <= set(known())


def test_the_shipped_rules_name_every_metric_of_every_card() -> None:
    shipped = load_thresholds(shipped_thresholds())
    unnamed = [key for card in cards() for key in card.named if shipped.rule_for(*key) is None]
    assert unnamed == []


def test_a_grid_has_every_combination_and_sizes_are_told_by_suite() -> None:
    assert grid(n=20, way=("up", "down")) == ({"n": 20, "way": "up"}, {"n": 20, "way": "down"})
    assert per_suite(fits=(1, 2, None))["paper"] == {"fits": None}


@pytest.mark.usefixtures("registered")
def test_an_added_family_has_its_heading_behind_the_others() -> None:
    register_card(a_card())
    assert cards()[-1].name == "guests"
    assert heading_of("guests_share") == heading_of("guests_share.of_all") == "Guests"
    assert place_of("guests_share") > max(map(place_of, set(known()) - {"guests_share"}))


@pytest.mark.usefixtures("registered")
def test_a_card_is_registered_again_as_it_is_and_not_as_another() -> None:
    assert register_card(a_card()) == register_card(a_card())
    with pytest.raises(ValueError, match="family 'guests' is already registered"):
        register_card(a_card(code="2"))
    with pytest.raises(ValueError, match="metric 'l0' is already registered"):
        register_card(a_card("others", "l0"))
    assert "others" not in {card.name for card in cards()}


@pytest.mark.usefixtures("registered")
def test_a_family_of_which_one_metric_is_taken_leaves_nothing_behind() -> None:
    both = replace(a_card(), metrics=(higher("guests_new", "new"), higher("l0", "taken")))
    with pytest.raises(ValueError, match="already registered"):
        register_card(both)
    assert "guests_new" not in known()


@pytest.mark.usefixtures("registered")
def test_a_single_metric_can_be_registered_without_a_family() -> None:
    register(higher("lonely", "without a family"))
    assert spec_of("lonely").direction == "higher"
    assert heading_of("lonely") == registry.OTHERS


def test_an_unknown_family_is_refused_with_those_there_are() -> None:
    with pytest.raises(KeyError, match=r"unknown family 'scrr'; known: core, scr"):
        card_of("scrr")


def test_cards_import_nothing_heavy() -> None:
    code = "import sys, pytest_sae.families.registry; print(*sorted(sys.modules))"
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    loaded = set(done.stdout.split())
    assert loaded.isdisjoint({"torch", "numpy", "pydantic", "transformers", "pytest"})
