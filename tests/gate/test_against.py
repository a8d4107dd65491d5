"""The verdict against a baseline: monotone, never green without a number, the same however run."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.gate.baseline import Baseline, Entry, entries_of, paired_error, updated
from pytest_sae.gate.baseline_file import read_baseline, write_baseline
from pytest_sae.gate.rules import Regression, Rule
from pytest_sae.gate.verdict import judge
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.numbers.metric_spec import Direction
from pytest_sae.records.measurement import Measurement
from pytest_sae.records.row import Against
from pytest_sae.records.verdicts import GREEN, Verdict
from tests.records.rows import row_of

finite = st.floats(-1e6, 1e6)
errors = st.none() | st.floats(0, 1e3)
regressions = st.none() | st.builds(
    Regression, abs=st.floats(0, 10), rel=st.floats(0, 1), sigma=st.floats(0, 5)
)
rules = st.builds(
    Rule, name=st.just("tpp"), min=st.none() | finite, max=st.none(), regression=regressions
)
againsts = st.builds(
    Against,
    source=st.just("kept"),
    value=finite,
    se=errors,
    differs=st.just(()),
    required=st.booleans(),
    paired=errors,
)


def judged(
    value: float | None,
    se: float | None,
    rule: Rule,
    against: Against,
    direction: Direction = "higher",
) -> Verdict:
    return judge(Estimate("tpp", value, se=se), rule, against=against, direction=direction)


@settings(deadline=None)
@given(finite, st.floats(0, 1e6), errors, rules, againsts)
def test_a_better_value_is_never_red_where_a_worse_one_is_green(
    value: float, more: float, se: float | None, rule: Rule, against: Against
) -> None:
    worse = judged(value, se, rule, against)
    better = judged(value + more, se, rule, against)
    if not worse.red:
        assert not better.red


@settings(deadline=None)
@given(finite, st.floats(0, 1e6), errors, rules, againsts)
def test_where_lower_is_better_all_is_mirrored(
    value: float, more: float, se: float | None, rule: Rule, against: Against
) -> None:
    rule = replace(rule, min=None, max=rule.min)
    worse = judged(value, se, rule, against, "lower")
    if not worse.red:
        assert not judged(value - more, se, rule, against, "lower").red


@settings(deadline=None)
@given(st.sampled_from([math.nan, math.inf, -math.inf, None]), errors, rules, againsts)
def test_what_is_no_number_is_never_green(
    value: float | None, se: float | None, rule: Rule, against: Against
) -> None:
    assert judged(value, se, rule, against).name not in GREEN


@settings(deadline=None)
@given(finite, errors, rules, againsts, st.floats(0, 1e3))
def test_less_noise_never_hides_a_regression(
    value: float, se: float | None, rule: Rule, against: Against, paired: float
) -> None:
    less, more = (replace(against, paired=each) for each in sorted((paired, against.paired or 0.0)))
    if judged(value, se, rule, more).name == "regressed":
        assert judged(value, se, rule, less).name == "regressed"


@settings(deadline=None)
@given(finite, finite, errors, rules, againsts)
def test_where_no_way_is_better_nearer_to_the_baseline_is_never_worse(
    value: float, share: float, se: float | None, rule: Rule, against: Against
) -> None:
    rule = replace(rule, min=None)
    assert against.value is not None
    nearer = against.value + (value - against.value) * (abs(share) / 1e6)
    if not judged(value, se, rule, against, "none").red:
        assert not judged(nearer, se, rule, against, "none").red


@settings(deadline=None)
@given(finite, errors, rules, againsts, st.sampled_from([math.nan, math.inf, -math.inf]))
def test_noise_that_is_no_number_is_as_if_it_were_not_known(
    value: float, se: float | None, rule: Rule, against: Against, noise: float
) -> None:
    """Else an infinite error would let every regression pass, and NaN compare as no difference."""
    for name in ("paired", "se"):
        spoilt = judged(value, se, rule, replace(against, **{name: noise}))
        known = judged(value, se, rule, replace(against, **{name: None}))
        assert spoilt == known


units = st.lists(st.tuples(finite, finite), min_size=1, max_size=30)


@given(pairs=units, seed=st.integers(0, 99))
def test_the_paired_error_knows_no_order_of_texts_and_no_order_of_runs(
    pairs: list[tuple[float, float]], seed: int
) -> None:
    shuffled = random.Random(seed).sample(pairs, len(pairs))
    before, now = zip(*pairs, strict=True)
    assert paired_error(before, now) == paired_error(now, before)
    found = paired_error(*zip(*shuffled, strict=True))
    assert found == pytest.approx(paired_error(before, now), rel=1e-12)
    assert paired_error(before, before) == 0


@given(pairs=units)
def test_pairing_is_bounded_by_what_both_add_at_worst(pairs: list[tuple[float, float]]) -> None:
    before, now = zip(*pairs, strict=True)
    found = paired_error(before, now)
    assert found is not None
    assert found <= (math.hypot(*before) + math.hypot(*now)) * (1 + 1e-12)


measured = st.builds(
    Measurement,
    sae=st.sampled_from(["a", "b"]),
    estimate=st.builds(
        Estimate,
        metric=st.sampled_from(["tpp", "scr", "principled.removed"]),
        value=finite,
        params=st.dictionaries(st.just("n"), st.integers(1, 30)),
        se=errors,
        n=st.just({"texts": 9}),
        influence=st.lists(st.floats(-1, 1, width=32), max_size=4).map(tuple),
    ),
    fingerprints=st.fixed_dictionaries({"data": st.sampled_from("de"), "sae": st.just("x")}),
)
runs = st.lists(measured, min_size=1, max_size=8, unique_by=lambda each: (each.sae, each.key))


def entries(run: list[Measurement]) -> list[Entry]:
    rows = [row_of(each, judge(each.estimate, None), None, "t") for each in run]
    influence = {(each.sae, each.key): each.estimate.influence for each in run}
    return entries_of(rows, influence)


def verdict(measurement: Measurement, baseline: Baseline, required: bool = True) -> Verdict:
    estimate = measurement.estimate
    against = baseline.against(
        (measurement.sae, measurement.key),
        measurement.fingerprints,
        required,
        estimate.influence,
    )
    rule = Rule(estimate.metric, regression=Regression(sigma=0))
    return judge(estimate, rule, against=against, direction=measurement.spec.direction)


@settings(deadline=None, max_examples=50)
@given(old=runs, run=runs, seed=st.integers(0, 99), name=st.sampled_from(["kept", "kept.json"]))
def test_after_an_update_a_rerun_is_green_whatever_was_there_before(
    old: list[Measurement], run: list[Measurement], seed: int, name: str
) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / name
        write_baseline(path, updated(entries(old), entries(run), only_new=False), 10**6)
        baseline = read_baseline(path, "kept")
    for each in random.Random(seed).sample(run, len(run)):
        assert verdict(each, baseline).name == "pass"
    kept = {(each.sae, each.key) for each in [*old, *run]}
    assert {entry.key for entry in baseline.entries} == kept


@given(run=runs, seed=st.integers(0, 99))
def test_the_file_of_a_baseline_knows_no_order(run: list[Measurement], seed: int) -> None:
    shuffled = random.Random(seed).sample(run, len(run))
    assert entries(run) == entries(shuffled)
    assert updated((), entries(shuffled), only_new=True) == entries(run)


@given(old=runs, run=runs)
def test_an_update_of_what_is_new_changes_nothing_that_was_there(
    old: list[Measurement], run: list[Measurement]
) -> None:
    after = updated(entries(old), entries(run), only_new=True)
    assert [each for each in after if each.key in {e.key for e in entries(old)}] == entries(old)
