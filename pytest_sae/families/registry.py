"""Every family and every metric that there is: those of this package, and those that were added.

cards() -> list[Card]; card_of(name) -> Card; register_card(card)
known() -> list[str]; spec_of(name) -> MetricSpec; register(spec)
expected_of(metric, control); comparable(metric); heading_of(metric); place_of(metric)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pytest_sae.families import NAMES
from pytest_sae.numbers.control import CONTROLS
from pytest_sae.numbers.metric_spec import MetricSpec

if TYPE_CHECKING:
    from pytest_sae.families.card import Card
    from pytest_sae.numbers.control import Expected

OTHERS = "Other metrics"

_CARDS: dict[str, Card] = {
    name: import_module(f"pytest_sae.families.{name}").CARD for name in NAMES
}
_SPECS: dict[str, MetricSpec] = {
    spec.name: spec for card in _CARDS.values() for spec in card.metrics
}


def cards() -> list[Card]:
    """Return all families, in the order of reports."""
    return list(_CARDS.values())


def card_of(name: str) -> Card:
    """Return the card of a family.

    Raises:
        KeyError: no family has this name; the message lists those there are.
    """
    if name not in _CARDS:
        raise KeyError(f"unknown family {name!r}; known: {', '.join(_CARDS)}")
    return _CARDS[name]


def register_card(card: Card) -> Card:
    """Add a family with its metrics; another package does so in the hook `pytest_sae_families`.

    Raises:
        ValueError: another family, or another family's metric, already has one of its names.
    """
    if _CARDS.get(card.name, card) != card:
        raise ValueError(f"family {card.name!r} is already registered, with another card")
    for spec in card.metrics:
        _refuse_other(spec)
    _SPECS.update({spec.name: spec for spec in card.metrics})
    _CARDS[card.name] = card
    return card


def register(spec: MetricSpec) -> MetricSpec:
    """Add a metric to the registry; third parties call this from their conftest.

    Raises:
        ValueError: another metric already has this name.
    """
    _refuse_other(spec)
    _SPECS[spec.name] = spec
    return spec


def _refuse_other(spec: MetricSpec) -> None:
    if _SPECS.get(spec.name, spec) != spec:
        raise ValueError(f"metric {spec.name!r} is already registered as {_SPECS[spec.name]}")


def spec_of(name: str) -> MetricSpec:
    """Return the specification of a metric.

    Raises:
        KeyError: no metric has this name; the message lists those there are.
    """
    if name not in _SPECS:
        raise KeyError(f"unknown metric {name!r}; known: {', '.join(known())}")
    return _SPECS[name]


def known() -> list[str]:
    """Return the names of all registered metrics, sorted."""
    return sorted(_SPECS)


def expected_of(metric: str, control: str) -> Expected | None:
    """Return what must hold of a control under a metric, None where the two have no business.

    Args:
        metric: its name.
        control: its name, one of `numbers.control.CONTROLS`.
    """
    return _SPECS[metric].controls.get(control) if metric in _SPECS else None


def comparable(metric: str) -> list[str]:
    """Return the controls that a metric's value can be held against, in the order of `CONTROLS`.

    Those that its family is measured on, and that do not leave the value as it is.
    """
    card = next((card for card in cards() if _SPECS.get(metric) in card.metrics), None)
    has = (*card.cheap_controls, *card.more_controls) if card else ()
    return [
        name for name in CONTROLS if name in has and expected_of(metric, name) not in (None, "same")
    ]


def heading_of(metric: str) -> str:
    """Return under which heading a metric stands in reports; `Other metrics` if nowhere."""
    return next((heading for heading, stem in _stems() if stem == _stem(metric)), OTHERS)


def place_of(metric: str) -> int:
    """Return where a metric stands among the others: a family's metrics are neighbours."""
    stems = _stems()
    places = (place for place, (_, stem) in enumerate(stems) if stem == _stem(metric))
    return next(places, len(stems))


def _stems() -> list[tuple[str, str]]:
    """Return the beginnings of all metrics' names with their headings, in the order of reports."""
    found = (
        (spec.heading or card.title, _stem(spec.name)) for card in cards() for spec in card.metrics
    )
    return list(dict.fromkeys(found))


def _stem(metric: str) -> str:
    return metric.partition(".")[0]
