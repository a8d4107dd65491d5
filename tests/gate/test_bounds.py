"""Bounds: what a file may say, what is refused, and on which line."""

from __future__ import annotations

import contextlib
import re
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.errors import ThresholdsError
from pytest_sae.gate.bounds import Thresholds, load_thresholds, parse_thresholds
from pytest_sae.gate.rules import Regression
from pytest_sae.numbers.keys import id_of_key, key_of_id, metric_key, parse_key


def parsed(text: str) -> Thresholds:
    return parse_thresholds(("version = 1\n" + textwrap.dedent(text)).encode(), "bounds.toml")


def test_the_most_specific_rule_wins() -> None:
    bounds = parsed("""
        [metrics.scr]
        min = 0.1
        [metrics."scr:n=20"]
        min = 0.2
    """)
    assert bounds.rule_for("scr", {"n": 5}).min == 0.1  # type: ignore[union-attr]
    assert bounds.rule_for("scr", {"n": 20}).min == 0.2  # type: ignore[union-attr]
    assert bounds.rule_for("scr", {"n": 20, "task": "x"}).min == 0.2  # type: ignore[union-attr]
    assert bounds.rule_for("tpp", {"n": 20}) is None


def test_a_rule_knows_its_lines() -> None:
    rule = parsed("""
        # [metrics.l0]
        [metrics.l0]   # a budget
        min = 20

        max = 120
        [metrics."scr.canonical"]
        min = 1
    """).rules["l0"]
    assert rule.at() == "bounds.toml:4"
    assert rule.at("min") == "bounds.toml:5"
    assert rule.at("max") == "bounds.toml:7"


def test_dotted_keys_and_inline_tables_have_lines_too() -> None:
    bounds = parsed("[metrics]\nl0 = { min = 1 }\nmse.max = 3\n")
    assert bounds.rules["l0"].line_of("min") == 3
    assert bounds.rules["mse"].line_of("max") == 4


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[metrics.explained_varience]\nmin = 1", 2, "Did you mean 'explained_variance'?"),
        ("[metrics.l0]\nminn = 1", 3, "unknown key 'minn' in [metrics.l0]. Did you mean 'min'?"),
        ("[metric.l0]\nmin = 1", 2, "unknown key 'metric'"),
        ("[metrics.l0]\nmin = 3\nmax = 2", 3, "min 3.0 > max 2.0"),
        ("[metrics.l0]\nmin = '3'", 3, "min is '3'. Expected a finite number"),
        ("[metrics.l0]\nmin = true", 3, "Expected a finite number"),
        ("[metrics.l0]\nmin = nan", 3, "Expected a finite number"),
        ("[metrics.l0]\nmin = inf", 3, "Expected a finite number"),
        ("[metrics.l0]\nmax_se = -1", 3, "nothing can pass"),
        ("[metrics.l0]\nmax = -1", 3, "cannot be below 0.0"),
        ("[metrics.explained_variance]\nmin = 1.5", 3, "cannot be above 1.0"),
        ("[metrics.l0]\ngate = false", 3, "without a reason"),
        ("[metrics.l0]\ngate = 0\nreason = 'x'", 3, "Expected a bool"),
        ("[metrics.l0]\nreason = 3\nmin = 1", 3, "Expected a str"),
        ("[metrics.l0]", 2, "bounds nothing"),
        ("[metrics.l0]\nreason = 'x'", 2, "bounds nothing"),
        ("[metrics]\nl0 = 3", 3, "no table"),
        ("metrics = 3", 1, "no table"),
        ("[metrics.scr.canonical]\nmin = 1", 2, 'Expected [metrics."scr.canonical"]'),
        ("[metrics.'scr:n']\nmin = 1", 2, "not spelled like"),
        ("[metrics.l0]\nmin = 1\nregression = { ab = 1 }", 4, "Did you mean 'abs'?"),
        ("[metrics.l0]\nmin = 1\nregression = { abs = -1 }", 4, "negative"),
        ("[metrics.l0]\nmin = 1\nregression = 3", 4, "Expected a table"),
        ("[metrics.l0]\nmin = 1\nother_seed = 3", 4, "other_seed is 3. Expected a table"),
        ("[metrics.l0]\nother_seed = { abs = -1 }", 3, "negative"),
        ("[metrics.l0]\ngate = 'sometimes'", 3, "Expected a bool"),
        ("[metrics.l0]\nmin = 1\ngate = 'baseline'", 4, "Expected one of both"),
        ("[metrics.l0\nmin = 1", 2, "not TOML"),
    ],
)
def test_what_cannot_be_used_is_refused_at_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(ThresholdsError) as error:
        parsed(text)
    assert str(error.value).startswith(f"bounds.toml:{line}:"), str(error.value)
    assert says in str(error.value)


@pytest.mark.parametrize("version", ["", "version = 2", "version = true", "version = '1'"])
def test_another_version_is_refused(version: str) -> None:
    with pytest.raises(ThresholdsError, match="Expected a line version = 1"):
        parse_thresholds(version.encode(), "bounds.toml")


def test_regression_is_accepted() -> None:
    rule = parsed("[metrics.l0]\nregression = { abs = 0.01, sigma = 2 }").rules["l0"]
    assert rule.regression == Regression(abs=0.01, sigma=2.0)


OTHER_SEED = """
[metrics.tpp]
regression = { abs = 0.01 }
other_seed = { abs = 0.05 }
[metrics.l0]
regression = { abs = 2 }
[metrics.kl]
max = 1

[[override]]
sae = "odd*"
metric = "tpp"
other_seed = { abs = 0.2 }
reason = "x"
expires = 2100-01-01
"""


@pytest.mark.parametrize(
    ("metric", "sae", "same", "other"),
    [
        ("tpp", "a", Regression(abs=0.01), Regression(abs=0.05)),
        ("tpp", "odd", Regression(abs=0.01), Regression(abs=0.2)),
        ("l0", "a", Regression(abs=2), Regression(abs=2)),
        ("kl", "a", None, None),
    ],
)
def test_beside_another_seed_its_own_tolerance_counts_where_there_is_one(
    metric: str, sae: str, same: Regression | None, other: Regression | None
) -> None:
    rules = parsed(OTHER_SEED)
    found = (each.rule_for(metric, {}, sae) for each in (rules, rules.of_other_seed()))
    assert [rule and rule.regression for rule in found] == [same, other]


def test_a_rule_may_decide_beside_a_baseline_alone_and_an_override_may_change_that() -> None:
    text = '[metrics.tpp]\ngate = "baseline"\n[[override]]\nsae = "a"\nmetric = "tpp"\n'
    more = 'gate = true\nregression = { abs = 0.1 }\nreason = "x"\nexpires = 2100-01-01'
    rules = parsed(text + more)
    one, other = (rules.rule_for("tpp", {}, sae) for sae in "ab")
    assert one is not None
    assert other is not None
    assert (one.gate, one.beside_baseline) == (True, False)
    assert (other.gate, other.beside_baseline) == (True, True)


def test_a_file_that_is_not_text_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("bounds") / "x.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ThresholdsError, match="UTF-8"):
        load_thresholds(path)


@settings(max_examples=100, deadline=None)
@given(
    st.binary()
    | st.text().map(str.encode)
    | st.text().map(lambda t: b"version = 1\n[metrics.l0]\n" + t.encode())
)
def test_arbitrary_bytes_are_parsed_or_refused(raw: bytes) -> None:
    with contextlib.suppress(ThresholdsError):
        assert parse_thresholds(raw, "bounds.toml").rules is not None


names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
params = st.dictionaries(names, st.integers(0, 999) | st.booleans() | names)


@settings(max_examples=100, deadline=None)
@given(names, params)
def test_keys_are_read_back(metric: str, settings: dict[str, int | bool | str]) -> None:
    assert parse_key(metric_key(metric, settings)) == (metric, settings)


@settings(max_examples=100, deadline=None)
@given(names, params)
def test_ids_are_read_back_and_hold_nothing_that_pytest_refuses(
    metric: str, settings: dict[str, int | bool | str]
) -> None:
    key = metric_key(metric, settings)
    identifier = id_of_key(key)
    assert not set(identifier) & set("=,[]/ ")
    assert "::" not in identifier
    assert key_of_id(identifier) == key
    assert key_of_id(f"{identifier}-other") == key


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[metrics.explained_variance]\nmax = 0.9", "higher is better, and it has a max alone"),
        ("[metrics.kl]\nmin = 0.1", "lower is better, and it has a min alone"),
        ("[metrics.tpp]\nmin = -1e300", "it forbids nothing"),
        ("[metrics.cosine]\nmin = -1", "cosine has min -1 and is never below -1"),
        ("[metrics.dead_share]\nmax = 1.0", "is never above 1"),
        ("[metrics.tpp]\nregression = { sigma = 1e9 }", "regression sigma 1e+09"),
        ("[metrics.tpp]\nregression = { rel = 1.0 }", "regression rel 1"),
        ("[metrics.dead_share]\nregression = { abs = 1.0 }", "regression abs 1"),
        ("[metrics.dead_share]\nother_seed = { abs = 1.0 }", "other_seed abs 1"),
    ],
)
def test_a_bound_that_forbids_nothing_is_refused(text: str, says: str) -> None:
    with pytest.raises(ThresholdsError, match=re.escape(says)):
        parsed(text)


def test_an_upper_bound_beside_a_lower_one_is_a_range() -> None:
    assert parsed("[metrics.explained_variance]\nmin = 0.5\nmax = 0.99").rules
    assert parsed("[metrics.explained_variance]\nmax = 0.99\nregression = { abs = 0.01 }").rules
    assert parsed('[metrics.kl]\nmin = 0.1\ngate = false\nreason = "x"').rules
