"""Intervals cover what they claim, and depend on nothing but their seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_sae.numbers.bootstrap import (
    generator,
    mean_estimate,
    ratio_estimate,
    resample,
    share_estimate,
    spread,
)


def test_a_generator_depends_on_its_names_only() -> None:
    first = generator(3, "scr", "a/b").random(4)
    np.random.default_rng(0).random(100)
    assert (generator(3, "scr", "a/b").random(4) == first).all()


@pytest.mark.parametrize("names", [(4, "scr", "a/b"), (3, "tpp", "a/b"), (3, "scr", "a", "b")])
def test_another_seed_metric_or_task_draws_otherwise(names: tuple) -> None:
    assert (generator(*names).random(4) != generator(3, "scr", "a/b").random(4)).all()


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_strata_keep_their_sizes_in_every_replicate(sizes: list[int], seed: int) -> None:
    strata = np.repeat(np.arange(len(sizes)), sizes)
    counts = resample(len(strata), np.random.default_rng(seed), strata, replicates=70).counts
    drawn = np.stack([counts[:, strata == group].sum(1) for group in range(len(sizes))], axis=1)
    assert (drawn == sizes).all()


def test_the_bootstrap_of_a_mean_has_the_closed_form_standard_error() -> None:
    values = np.random.default_rng(0).exponential(size=400)
    estimate = ratio_estimate(
        "mse", values, np.ones(400), resample(400, generator(0, "x"), replicates=4000)
    )
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.se == pytest.approx(values.std() / 20, rel=0.05)
    assert estimate.ci is not None
    assert estimate.ci[0] < values.mean() < estimate.ci[1]


def test_the_interval_of_a_ratio_covers_the_truth_as_often_as_it_says() -> None:
    """Skewed, correlated numerators and denominators, 60 texts, truth 0.5."""
    inside = 0
    for world in range(200):
        rng = np.random.default_rng(world)
        below = rng.gamma(3.0, size=60)
        above = 0.5 * below + rng.normal(size=60) * 0.3 * below
        ci = ratio_estimate("mse", above, below, resample(60, generator(world, "x"))).ci
        assert ci is not None
        inside += ci[0] <= 0.5 <= ci[1]
    assert 0.88 * 200 <= inside <= 0.99 * 200


def test_wilsons_interval_agrees_with_scipy() -> None:
    from scipy.stats import binomtest

    for hits in (0, 1, 7, 20):
        expected = binomtest(hits, 20).proportion_ci(method="wilson")
        found = share_estimate("dead_share", hits, 20, "latents").ci
        assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_interval_of_a_mean_is_the_normal_one() -> None:
    values = np.arange(100.0)
    estimate = mean_estimate("decoder_norm", values, "latents")
    half = 1.959964 * values.std(ddof=1) / 10
    assert estimate.ci == pytest.approx((49.5 - half, 49.5 + half), abs=1e-4)
    assert estimate.n == {"latents": 100}


def test_one_unit_has_no_standard_error() -> None:
    one = ratio_estimate("mse", np.ones(1), np.ones(1), resample(1, generator(0, "x")))
    assert (one.value, one.se, one.ci) == (1.0, None, None)
    assert mean_estimate("mse", np.ones(1), "latents").se is None


def test_no_unit_is_undefined_with_a_reason() -> None:
    nothing = np.zeros(0)
    for estimate in (
        ratio_estimate("mse", nothing, nothing, resample(0, generator(0, "x"))),
        mean_estimate("mse", nothing, "latents"),
        share_estimate("mse", 0, 0, "latents"),
    ):
        assert (estimate.status, estimate.value) == ("undefined", None)
        assert estimate.reason


def test_a_spread_with_many_empty_replicates_is_unknown() -> None:
    values = np.linspace(0, 1, 100)
    few, many = values.copy(), values.copy()
    few[:4], many[:6] = np.nan, np.nan
    assert spread(few)[0] == pytest.approx(values[4:].std(ddof=1))
    assert spread(many) == (None, None)
