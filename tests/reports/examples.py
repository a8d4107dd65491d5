"""A report made by hand, and hypothesis strategies for rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from pytest_sae.gate.bounds import Rule
from pytest_sae.gate.verdict import judge
from pytest_sae.gate.whole_run import run_verdict
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.measurement import Measurement
from pytest_sae.records.report import SAE, SCHEMA_VERSION, Report, ThresholdsFile
from pytest_sae.records.row import Row, unmeasured_row
from pytest_sae.run.versions import versions
from tests.records.rows import row_of

_FAILED = "measuring tpp failed"
CURVE = {
    "2": {"value": 0.1, "se": 0.01, "low": 0.08, "high": 0.12},
    "10": {"value": 0.3, "se": 0.01, "low": 0.28, "high": 0.33},
    "50": {"value": 0.5, "se": None, "low": None, "high": None},
}


def row(estimate: Estimate, rule: Rule | None = None, sae: str = "topk") -> Row:
    """Return the row of an estimate as a run would record it."""
    verdict = judge(estimate, rule, "no rule in bounds.toml")
    built = row_of(Measurement(sae, estimate), verdict, rule, f"evals/t.py::test_it[{sae}]")
    return replace(built, outcome="failed" if verdict.red else "passed")


def rule(name: str, **bounds: Any) -> Rule:
    """Return a rule that stands on line 3 of bounds.toml."""
    return Rule(name, file="bounds.toml", lines={"": 2, "min": 3, "max": 3}, **bounds)


def rows() -> list[Row]:
    """Return rows of every kind."""
    return [
        row(Estimate("explained_variance", 0.612, se=0.006, ci=(0.6, 0.624), n={"texts": 400}),
            rule("explained_variance", min=0.7)),
        row(Estimate("l0", 32.0), rule("l0", min=20, max=120)),
        row(Estimate("scr", 0.3, {"n": 10}, ci=(0.2, 0.4), details={"curve": CURVE})),
        row(Estimate("scr", -0.1, {"n": 2}, ci=(-0.2, 0.1), details={"curve": CURVE})),
        unmeasured_row("topk", "tpp:n=20", f"{_FAILED}: <b>no</b> | room", "t.py", "error"),
    ]  # fmt: skip


def report(measurements: Sequence[Row] | None = None, **changed: Any) -> Report:
    """Return a report that holds rows."""
    measured = sorted(rows() if measurements is None else measurements, key=lambda row: row.order)
    whole = Report(
        schema_version=SCHEMA_VERSION, complete=True, verdict=run_verdict(measured, [], [], True),
        problems=(), exit_status=1, started="2026-01-01T00:00:00+00:00", duration=1.5,
        argv=("evals",), versions=versions(), options={"suite": "smoke"},
        thresholds=(ThresholdsFile("bounds.toml", "ab" * 32),),
        saes=(SAE("topk", "saes/topk", "saes/topk"),), shard=None, update=None,
        measurements=tuple(measured), tests=(), environment={"device": "cpu"}, models={},
        data={}, work={}, audit=None,
    )  # fmt: skip
    return replace(whole, **changed)


texts = st.text(max_size=20) | st.sampled_from(
    ["<script>x</script>", "a|b", "`x`", "\n::error::", "%"]
)
# The gate refuses an error or an interval that is no number.
_FINITE = st.floats(allow_nan=False, allow_infinity=False)
estimates = st.builds(
    Estimate,
    metric=st.sampled_from(["l0", "scr", "explained_variance"]),
    value=st.none() | st.floats(),
    params=st.dictionaries(texts.filter(bool), st.integers() | texts, max_size=2),
    se=st.none() | _FINITE,
    ci=st.none() | st.tuples(_FINITE, _FINITE),
    reason=texts,
    details=st.dictionaries(texts, texts | st.floats(), max_size=2)
    | st.just({"curve": CURVE})
    | st.fixed_dictionaries(
        {
            "curve": st.lists(
                st.dictionaries(st.sampled_from(["n", "value", "ci"]), st.floats() | texts)
            )
        }
    ),
)
