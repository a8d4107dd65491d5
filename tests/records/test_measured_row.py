"""Whatever somebody's estimate holds, its row can be written, read and drawn; or it is refused."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.errors import EstimateError
from pytest_sae.gate.judged import estimate_of, judged
from pytest_sae.gate.rules import Rule
from pytest_sae.gate.verdict import judge
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.measured_row import influence_of, measured_row, refused_row
from pytest_sae.records.measurement import Measurement
from pytest_sae.records.row import Row
from pytest_sae.records.schema import read_report, write_report
from pytest_sae.reports.html import html
from pytest_sae.reports.markdown import markdown
from tests.reports.examples import report

GOOD = Estimate(
    "scr", 0.5, {"n": 20}, se=0.01, ci=(0.4, 0.6), n={"texts": 40}, details={"curve": {}}
)


class Unreadable:
    """An object none of whose methods can be relied on."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    def tolist(self) -> Any:
        raise RuntimeError("never")


def nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


garbage = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(),
    st.text(st.characters(), max_size=5),
    st.binary(max_size=3),
    st.complex_numbers(),
    st.lists(st.floats() | st.text(max_size=2), max_size=4),
    st.dictionaries(st.integers() | st.text(max_size=2) | st.none(), st.floats() | st.none()),
    st.sampled_from(
        [
            "OK", "\ud800", 10**400, 10**5000, Decimal("0.5"), object(), object, Unreadable(),
            nested(300), nested(5000), {"x": nested(5000)}, {"t": 1.5}, {"t": 10**5000},
            *({"x": nested(depth)} for depth in range(190, 204)),
            (1, 2, 3), (math.nan, 1.0), np.float32(0.5), np.arange(3), np.array(["a"]), {1, "a"},
            {"x": Unreadable()}, {1: 2, "1": 3}, range(3), [math.nan],
        ]
    ),
)  # fmt: skip


def row_of(estimate: Estimate) -> Row:
    """Return the row that the gate would record."""
    measurement = Measurement("topk", estimate)
    try:
        row = measured_row(measurement, "t.py::test_it")
        influence_of(measurement)
    except EstimateError as error:
        return refused_row(measurement, str(error), "t.py::test_it")
    judging = replace(estimate_of(row), value=estimate.value, reason=row.reason)
    rule = Rule("scr", min=0.1)
    return judged(row, judge(judging, rule, direction=row.direction), rule)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from([each.name for each in fields(Estimate)]), garbage))
def test_no_estimate_costs_the_report(odd: dict[str, Any]) -> None:
    row = row_of(replace(GOOD, **odd))
    whole = report([row, row_of(GOOD)])
    with TemporaryDirectory() as directory:
        path = write_report(whole, Path(directory))
        assert read_report(path) == whole
    assert "scr" in html(whole)
    assert "scr" in markdown(whole)
    if row.verdict == "pass":
        assert row.value is not None
        assert math.isfinite(row.value)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("metric", "srr", "metric is 'srr'. Expected one that is registered. Did you mean 'scr'?"),
        ("metric", ["scr"], "metric is ['scr']. Expected one that is registered."),
        ("params", {"n": None}, "params.n is None. Expected a bool, an int, a float or a str."),
        ("params", None, "params is None. Expected an object."),
        ("se", "small", "se is 'small'. Expected a valid number."),
        ("se", True, "se is True. Expected a valid number."),
        ("se", math.nan, "se is nan. Expected a finite number, or None."),
        ("se", math.inf, "se is inf. Expected a finite number, or None."),
        ("ci", (1, 2, 3), "ci is (1, 2, 3). Expected both ends of an interval."),
        ("ci", (0.4, math.nan), "ci is (0.4, nan). Expected both ends of an interval."),
        ("ci", (-math.inf, 0.6), "ci is (-inf, 0.6). Expected both ends of an interval."),
        ("n", {"texts": 1.5}, "n.texts is 1.5. Expected a valid integer."),
        ("seeds", 1.5, "seeds is 1.5. Expected a valid integer."),
        (
            "status",
            "OK",
            "status is 'OK'. Expected 'ok', 'undefined', 'not_applicable', 'no_data' or 'unable'.",
        ),
        ("reason", None, "reason is None. Expected a valid string."),
        ("details", [1], "details is [1]. Expected an object."),
        ("details", {"x": Unreadable()}, "details cannot be read: RuntimeError."),
        ("influence", [math.nan], "influence is [nan]. Expected a finite number for each unit."),
        ("influence", 0.5, "influence is 0.5. Expected a finite number for each unit."),
    ],
)
def test_a_field_that_is_not_what_it_must_be_is_named(field: str, value: object, told: str) -> None:
    refused = row_of(replace(GOOD, **{field: value}))
    assert refused.reason == told
    assert (refused.verdict, refused.value, refused.red) == ("unmeasured", None, True)
    kept = (refused.metric, refused.params) == ("scr", {"n": 20})
    assert kept == (field not in ("metric", "params"))


def test_values_of_numpy_are_taken_as_the_numbers_that_they_are() -> None:
    numbers = {"value": np.float64(0.5), "se": np.float32(0.25), "seeds": np.int64(3)}
    row = row_of(replace(GOOD, **numbers, n={"texts": np.int32(4)}, influence=np.ones(2)))
    assert (row.verdict, row.value, row.se, row.seeds, row.n) == (
        "pass",
        0.5,
        0.25,
        3,
        {"texts": 4},
    )
    assert type(row.value) is float


def test_a_control_with_a_field_that_is_not_what_it_must_be_is_named() -> None:
    odd = Control("random", "beneath", "higher", 0.1)  # type: ignore[arg-type]
    with pytest.raises(
        EstimateError, match=r"controls\.0\.expected is 'beneath'\. Expected 'below'"
    ):
        measured_row(Measurement("topk", GOOD, controls=(odd,)), "t")
