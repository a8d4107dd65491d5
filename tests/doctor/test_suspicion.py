"""Findings follow from figures alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_sae.doctor.suspicion import CAUSES, Measured, Tried, suspicions
from pytest_sae.doctor.weights import Look

GOOD = Measured(ev=0.9, first=0.95, l0=24, of_rank=0.5, largest=0.75, tokens=500)
BAD = replace(GOOD, ev=-0.3, first=-0.2)
TRAINED = Look(spread=0.8, nearness=1.3, tied=0.7)
FRESH = Look(spread=1.0, nearness=1.0, tied=1.0)


def causes(*given: object, **more: object) -> list[str]:
    return [each.cause for each in suspicions(*given, **more)]  # type: ignore[arg-type]


def test_a_good_sae_does_not_smell_whatever_explains_as_much() -> None:
    tried = [Tried(cause, "so", replace(GOOD, ev=0.91)) for cause in CAUSES]
    assert causes(GOOD, tried, TRAINED, 24) == []
    assert causes(GOOD, tried, FRESH, 24) == []


@pytest.mark.parametrize("cause", [each for each in CAUSES if each != "wrong BOS"])
def test_what_mends_is_the_cause(cause: str) -> None:
    others = [Tried(each, "so", replace(GOOD, ev=0.6)) for each in CAUSES if each != cause]
    right = Tried(cause, "rightly", GOOD, line="--sae=right")
    (finding,) = suspicions(BAD, [*others, right], TRAINED)
    assert (finding.cause, finding.line) == (cause, "--sae=right")
    assert "-0.300" in finding.says
    assert "rightly: 0.900" in finding.says


def test_what_explains_less_than_components_mends_nothing() -> None:
    tried = [Tried("scaled", "so", replace(GOOD, ev=0.4))]
    assert causes(BAD, tried, TRAINED) == ["another model or revision"]
    assert causes(BAD, tried, FRESH) == ["hardly trained"]
    assert causes(BAD, tried, replace(FRESH, tied=0.0)) == ["random weights"]
    assert causes(BAD, tried, None) == ["another model or revision"]


def test_dense_latents_that_explain_more_do_not_mend() -> None:
    """As many components explain as much: what counts is what is left beside them."""
    dense = replace(GOOD, ev=0.93, l0=180, of_rank=0.9)
    as_it_stands = replace(GOOD, ev=0.87, l0=180, of_rank=0.9)
    tried = [Tried("scaled", "so", dense), Tried("threshold lost", "so", GOOD)]
    assert causes(as_it_stands, tried, TRAINED) == ["threshold lost"]


def test_bos_shows_on_the_first_tokens() -> None:
    here = replace(GOOD, ev=0.85, first=0.6)
    assert causes(here, [Tried("wrong BOS", "so", GOOD)], TRAINED) == ["wrong BOS"]
    little = replace(GOOD, first=0.7)
    assert causes(here, [Tried("wrong BOS", "so", little)], TRAINED) == []
    elsewhere_worse = replace(GOOD, ev=0.84)
    assert causes(here, [Tried("wrong BOS", "so", elsewhere_worse)], TRAINED) == []


@pytest.mark.parametrize(("l0", "found"), [(24, []), (35, []), (37, ["another L0"]),
                                           (15, ["another L0"])])  # fmt: skip
def test_an_l0_far_from_the_declared_one_smells(l0: float, found: list[str]) -> None:
    assert causes(replace(GOOD, l0=l0), [], TRAINED, 24) == found
    assert causes(replace(GOOD, l0=l0), [], TRAINED, None) == []


def test_what_cannot_be_used_is_mended_by_whatever_explains_more_than_components() -> None:
    assert causes(None, [Tried("transposed", "so", GOOD)], None) == ["transposed"]
    assert causes(None, [Tried("transposed", "so", BAD)], None) == []
