"""What every audited metric claims holds on worlds whose truth is known, whatever the world.

`claims.py` is the table of what each metric claims; what it does not claim is not tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_sae.families.registry import spec_of
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.synthetic.strategies import dictionaries
from tests.synthetic.claims import ABSENT, CLAIMS, MAY_BE_UNDEFINED, UNDEFINED
from tests.synthetic.planted_dictionaries import (
    FAMILIES,
    QUICK,
    REFITTED,
    SIZE,
    Planted,
    few,
    figures,
    planted,
    unshrunk,
)

#: What is true of nearly all draws is tried on the same ones each time: see the tolerance.
same = settings(unshrunk, max_examples=3, derandomize=True, database=None)


@given(planted())
@settings(unshrunk, max_examples=1)
def test_every_audited_metric_has_a_row_in_the_table_of_claims(planted: Planted) -> None:
    found = figures(planted, planted.oracle(), FAMILIES).values()
    assert {each.metric for each in found} == {*CLAIMS, *ABSENT}
    for each in found:
        absent = each.status in ("not_applicable", "no_data")
        assert absent == (each.metric in ABSENT), each.metric


@pytest.mark.parametrize("end", ["identity", "silent", "oracle"])
@given(planted=planted())
@few
def test_at_the_ends_a_metric_has_the_value_that_it_claims(planted: Planted, end: str) -> None:
    check_end(planted, end, QUICK)


@given(planted=planted())
@settings(unshrunk, max_examples=2)
def test_what_writes_nothing_erases_nothing(planted: Planted) -> None:
    check_end(planted, "silent", REFITTED)


def check_end(planted: Planted, end: str, families: Sequence[str]) -> None:
    found = figures(planted, getattr(planted, end)(), families)
    for key, each in found.items():
        if each.metric in ABSENT:
            continue
        claimed = getattr(CLAIMS[each.metric], end)
        if claimed == UNDEFINED:
            assert each.status in ("undefined", "unable"), key
        elif each.status in ("undefined", "unable"):
            assert claimed is None or each.metric in MAY_BE_UNDEFINED, (key, each.reason)
        elif claimed is not None:
            expected = claimed(planted, found, each) if callable(claimed) else claimed
            assert each.value == pytest.approx(expected, rel=1e-5, abs=1e-6), key
        check_range(each)


def check_range(each: Estimate) -> None:
    spec = spec_of(each.metric)
    if each.value is not None:
        assert spec.low is None or each.value >= spec.low - 1e-9, each
        assert spec.high is None or each.value <= spec.high + 1e-9, each


@given(planted=planted(), data=st.data())
@settings(unshrunk, max_examples=6)
def test_a_value_is_in_the_range_that_it_declares_whatever_the_dictionary(
    planted: Planted, data: st.DataObject
) -> None:
    dictionary = data.draw(dictionaries(planted.world.spec.d))
    # That a dictionary is as sparse as it declares is checked elsewhere; random ones are not.
    dictionary.info = replace(dictionary.info, k=None)
    for each in figures(planted, dictionary).values():
        check_range(each)
        assert each.se is None or each.se >= 0


@given(planted=planted(), seed=st.integers(0, 2**31))
@settings(unshrunk, max_examples=6)
def test_weaker_noise_in_the_decoder_is_better_by_the_closed_form(
    planted: Planted, seed: int
) -> None:
    """With rows `truth + t noise` the error is t times what it is at 1, token by token.

    So mse goes with t^2, and so does what is not explained. The cosine of x and x + t e falls as t
    grows, by Cauchy and Schwarz: its derivative has the sign of `(x.e)^2 - |x|^2 |e|^2`. What only
    encodes does not notice.
    """
    strengths = (1.0, 0.5, 0.25, 0.0)
    steps = [figures(planted, planted.noisy(each, seed), ["core"]) for each in strengths]
    for strength, step in zip(strengths, steps, strict=True):
        left = strength**2 * steps[0]["mse"].value
        assert step["mse"].value == pytest.approx(left, rel=1e-4, abs=1e-9)
        unexplained = strength**2 * (1 - steps[0]["explained_variance"].value)
        assert 1 - step["explained_variance"].value == pytest.approx(
            unexplained, rel=1e-4, abs=1e-9
        )
        for name in ("l0", "l1", "dead_share", "dense_share_1pct", "dense_share_10pct"):
            assert step[name].value == steps[0][name].value
    assert_rises([step["cosine"].value for step in steps], 1e-7)


@given(planted=planted(), strength=st.sampled_from([0.25, 0.5, 2.0]))
@few
def test_tpp_by_margin_goes_with_the_strength_of_what_is_written_and_rescaled_as_far_as_it_fits(
    planted: Planted, strength: float
) -> None:
    whole, scaled = (figures(planted, planted.scaled(each), ["tpp"]) for each in (1.0, strength))
    margin, rescaled = "tpp.margin:n=20", "tpp.rescaled:n=few"
    assume(whole[margin].value is not None)  # else small tasks have nothing to lose
    assert scaled[margin].value == pytest.approx(strength * whole[margin].value, rel=1e-4)
    kept = min(1.0, strength) * whole[rescaled].value
    assert scaled[rescaled].value == pytest.approx(kept, rel=1e-4)


@given(planted=planted(), seed=st.integers(0, 2**31))
@same
def test_who_knows_more_of_the_true_features_is_better(planted: Planted, seed: int) -> None:
    check_rises(planted, seed, QUICK)


@given(planted=planted(), seed=st.integers(0, 2**31))
@settings(same, max_examples=1)
def test_who_knows_more_of_the_true_features_erases_better(planted: Planted, seed: int) -> None:
    check_rises(planted, seed, REFITTED)


def check_rises(planted: Planted, seed: int, families: Sequence[str]) -> None:
    """Each third of the features makes it better, but for two standard errors; all of them do.

    A value rests on 120 test texts, so that which features come first moves it by chance. The
    steps share texts and probes: the error of their difference is smaller than the one that is
    let pass, that of independent texts.
    """
    steps = [
        figures(planted, planted.knowing(share, seed), families) for share in (0, 1 / 3, 2 / 3, 1)
    ]
    rising = [
        key
        for key, each in steps[0].items()
        if rises(each) and all(step[key].value is not None for step in steps)
    ]
    assume(rising)  # erasure alone is often undefined on tasks so small
    for key in rising:
        sign = -1 if spec_of(steps[0][key].metric).direction == "lower" else 1
        values = [sign * step[key].value for step in steps]
        errors = [step[key].se or 0.0 for step in steps]
        for place in range(3):
            noise = float(np.hypot(errors[place], errors[place + 1]))
            assert_rises(values[place : place + 2], 2 * noise, key)
        assert values[-1] > values[0], (key, values)


def rises(each: Estimate) -> bool:
    """Whether it claims to; with fewer latents than a concept has features, more are a choice."""
    enough = int(each.params.get("k", SIZE.concept)) >= SIZE.concept
    return enough and each.metric in CLAIMS and CLAIMS[each.metric].rises


def assert_rises(values: Sequence[float], tolerance: float, what: str = "") -> None:
    assert all(np.diff(values) >= -tolerance), (what, values, tolerance)
