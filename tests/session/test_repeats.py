"""--sae-repeats: what is random is done again, nothing else is, and the spread is in the error."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_sae.numbers.estimate import Estimate, not_applicable, undefined
from pytest_sae.session.repeats import combined, seeds
from tests.session.test_session import world  # noqa: F401
from tests.sessions import opened, options

numbers = st.floats(-5, 5)


@given(seed=st.integers(0, 2**31), repeats=st.integers(1, 20))
def test_seeds_differ_begin_with_the_runs_own_and_do_not_depend_on_their_number(
    seed: int, repeats: int
) -> None:
    found = seeds(seed, repeats)
    assert found[0] == seed
    assert len(set(found)) == repeats
    assert found == seeds(seed, 20)[:repeats]


@given(st.lists(st.tuples(numbers, st.floats(0, 2)), min_size=2, max_size=8))
def test_the_error_is_that_over_texts_and_that_over_repeats(pairs: list) -> None:
    runs = [
        [Estimate("scr", value, {"n": 20}, se, (value - se, value + se))] for value, se in pairs
    ]
    (found,) = combined(runs, range(len(runs)))
    values, errors = np.array(pairs).T
    assert found.value == pytest.approx(values.mean())
    wanted = math.sqrt((errors**2).mean() + values.var(ddof=1) / len(values))
    assert found.se == pytest.approx(wanted)
    assert found.ci[0] <= found.value <= found.ci[1]
    assert found.details["repeats"]["sd"] == pytest.approx(values.std(ddof=1))
    assert found.seeds == len(runs)


def test_the_interval_grows_as_the_error_does() -> None:
    first = Estimate("scr", 0.0, se=0.3, ci=(-0.2, 0.4))
    (found,) = combined([[first], [replace(first, value=0.8, ci=(0.6, 1.2))]], (0, 1))
    assert found.se == pytest.approx(0.5)
    assert found.ci == pytest.approx((0.4 - 0.2 * 0.5 / 0.3, 0.4 + 0.4 * 0.5 / 0.3))


def test_repeats_that_say_no_error_have_none_together() -> None:
    (found,) = combined([[Estimate("scr", 0.1)], [Estimate("scr", 0.3)]], (0, 1))
    assert found.se is None
    assert found.details["repeats"]["values"] == [0.1, 0.3]


def test_one_repeat_without_a_value_leaves_none() -> None:
    runs = [[Estimate("scr", 0.1)], [undefined("scr", "no gap")], [Estimate("scr", 0.3)]]
    (found,) = combined(runs, (0, 1, 2))
    assert found.status == "undefined"
    assert found.reason == "1 of 3 repeats have no value: no gap"


def test_what_does_not_exist_does_not_exist_in_repeats_either() -> None:
    absent = not_applicable("kl", "an encoder predicts nothing")
    assert combined([[absent], [absent]], (0, 1)) == [absent]


def test_repeats_of_different_things_are_no_repeats() -> None:
    with pytest.raises(ValueError, match="scr, tpp"):
        combined([[Estimate("scr", 0.1)], [Estimate("tpp", 0.1)]], (0, 1))


def test_what_repeats_add_is_part_of_the_influence() -> None:
    runs = [[Estimate("scr", value, influence=(0.1, -0.1))] for value in (0.0, 0.2)]
    (found,) = combined(runs, (0, 1))
    assert found.influence == pytest.approx((0.1, -0.1, -0.1 / math.sqrt(2), 0.1 / math.sqrt(2)))


def test_a_session_repeats_what_is_random_and_runs_nothing_again(world: Path) -> None:  # noqa: F811
    once, first = opened(world, "topk")
    thrice, again = opened(world, "topk", repeats=3)
    alone = {each.key: each.estimate for each in once.measure("tpp", first)}
    repeated = {each.key: each for each in thrice.measure("tpp", again)}
    work = [session.store.work.record() for session in (once, thrice)]
    for name in ("model_passes", "encode_passes", "encoded_tokens"):
        assert work[0][name] == work[1][name] > 0
    defined = {key: each for key, each in repeated.items() if each.estimate.value is not None}
    assert "tpp.canonical:n=20" in defined
    for key, measured in defined.items():
        told = measured.estimate.details["repeats"]
        assert told["values"][0] == alone[key].value
        assert measured.estimate.value == pytest.approx(np.mean(told["values"]))
        assert measured.estimate.seeds == 3 * alone[key].seeds
        assert len(set(told["values"])) > 1
    assert measured.fingerprints["suite"] == "smoke/seed=0/repeats=3"
    assert options(world).repeats == 1


def test_what_is_not_random_is_not_repeated(world: Path) -> None:  # noqa: F811
    session, sae = opened(world, "topk", repeats=2)
    assert all("repeats" not in each.estimate.details for each in session.measure("core", sae))
