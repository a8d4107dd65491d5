"""What a row surely keeps is what the gate says that it keeps, and nothing more."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.gate.bound_forms import BoundForm, forms
from pytest_sae.gate.bounds import parse_thresholds
from pytest_sae.gate.judged import rejudged_against
from pytest_sae.numbers.control import Control
from pytest_sae.records.row import Row
from tests.gate.known import row

RANDOM = Control("random", "reference", "higher", 0.1, 0.01, paired=0.02)
TIED = Control("random_tied", "reference", "higher", 0.3, 0.01, paired=0.01)
PCA = Control("pca", "reference", "higher", 0.8, 0.01, paired=0.005)


def verdict(form: BoundForm, number: float, held: Row) -> str:
    text = f"version = 1\n[metrics.{held.metric}]\n{form.write(number)}\n"
    rule = parse_thresholds(text.encode(), "made.toml").rules[held.metric]
    return rejudged_against(held, None, rule, "").verdict


def of(held: Row) -> list[BoundForm]:
    return list(forms([held]))


def surely(form: BoundForm, held: Row) -> float:
    found = form.strictest(held)
    assert found is not None
    return found.surely


@settings(max_examples=50, deadline=None)
@given(st.floats(0.4, 0.99), st.floats(0.001, 0.02), st.integers(0, 2))
def test_the_strictest_bound_is_the_last_that_the_gate_lets_pass(
    value: float, se: float, which: int
) -> None:
    held = row("a", "explained_variance", value, se, RANDOM, TIED, PCA)
    form = of(held)[which]
    most = surely(form, held)
    assert verdict(form, most - 1e-6, held) == "pass"
    assert verdict(form, most + 1e-6, held) in ("undecided", "fail")


def test_of_what_is_better_when_lower_the_strictest_is_the_lowest_maximum() -> None:
    held = row("a", "mse", 2.0, 0.1)
    (form,) = of(held)
    most = surely(form, held)
    assert form.write(most).startswith("max = 2.19")
    assert verdict(form, most - 1e-6, held) == "pass"
    assert verdict(form, most + 1e-6, held) == "undecided"


def test_a_share_is_where_the_value_lies_on_the_way_from_the_strongest_control() -> None:
    exact = [
        Control(each.control, "reference", "higher", each.value) for each in (RANDOM, TIED, PCA)
    ]
    held = row("a", "explained_variance", 0.7, None, *exact)
    assert surely(of(held)[0], held) == pytest.approx((0.7 - 0.3) / (0.8 - 0.3))


def test_where_pca_is_no_better_than_a_control_there_is_no_way_to_take_a_share_of() -> None:
    low = Control("pca", "reference", "higher", 0.2, 0.01)
    held = row("a", "explained_variance", 0.7, 0.01, RANDOM, TIED, low)
    share, beyond, _ = of(held)
    assert share.strictest(held) is None
    assert beyond.strictest(held) is not None


def test_only_controls_that_all_rows_have_can_be_named() -> None:
    both = row("a", "explained_variance", 0.7, 0.01, RANDOM, TIED, PCA)
    one = row("b", "explained_variance", 0.7, 0.01, TIED)
    beyond, least = forms([both, one])
    assert beyond.write(0.1) == 'bound = { above = ["random_tied"], by = 0.1 }'
    assert least.write(0.1) == "min = 0.1"
