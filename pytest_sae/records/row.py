"""Rows: what one judged measurement becomes when it travels to the controller and into reports."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_sae.families.registry import known, spec_of
from pytest_sae.gate.controls import doubt, holds
from pytest_sae.gate.rules import Regression
from pytest_sae.gate.verdict import (
    Against,
    Verdict,
    as_number,
    bounds,
    difference,
    headline,
    is_red,
    number,
)
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.keys import metric_key, parse_key

if TYPE_CHECKING:
    from pytest_sae.gate.rules import Rule
    from pytest_sae.records.measurement import Measurement

Row = dict[str, Any]


def to_builtin(value: object) -> Any:
    """Return value as exact builtins for strict JSON; NaN and infinities become None.

    execnet refuses subclasses of builtins: one numpy.float64 on a report silences a whole xdist
    worker. So every leaf is rebuilt, and what has no counterpart becomes its text.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return to_builtin(value.value)
    if isinstance(value, str):
        return "".join(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Mapping):
        return {str(to_builtin(key)): to_builtin(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_builtin(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((to_builtin(item) for item in value), key=repr)
    # numpy scalars, arrays and tensors, none of which may be imported here.
    unpack = getattr(value, "tolist", None)
    return to_builtin(unpack()) if callable(unpack) else str(value)


#: Of what there is nothing to measure, by declaration or because no data was given.
ABSENT = ("not_applicable", "no_data")


def row_of(
    measurement: Measurement,
    verdict: Verdict,
    rule: Rule | None,
    nodeid: str,
    against: Against | None = None,
) -> Row:
    """Return the row of a judged measurement, exact builtins throughout."""
    estimate = measurement.estimate
    spec = measurement.spec
    value = as_number(estimate.value)
    row = {
        "sae": measurement.sae,
        "metric": estimate.metric,
        "params": estimate.params,
        "value": value,
        "se": as_number(estimate.se),
        "ci": estimate.ci,
        "n": estimate.n,
        "seeds": estimate.seeds,
        "direction": spec.direction,
        "unit": spec.unit,
        "range": [spec.low, spec.high],
        "status": "undefined" if value is None and estimate.status == "ok" else estimate.status,
        "reason": verdict.reason,
        "verdict": verdict.name,
        "rule": rule_row(rule, spec.direction, verdict.decided_by),
        "baseline": baseline_row(against),
        "controls": [control_row(each, value, estimate.se) for each in measurement.controls],
        "seconds": measurement.seconds,
        "peak_memory": measurement.peak_memory,
        "fingerprints": measurement.fingerprints,
        "details": estimate.details,
        "nodeid": nodeid,
        "outcome": "",
        "worker": "",
    }
    built: Row = to_builtin(row)
    return built


def unmeasured_row(sae: str, key: str, reason: str, nodeid: str, outcome: str) -> Row:
    """Return the row of a metric that a test was to measure and did not."""
    metric, params = parse_key(key)
    spec = spec_of(metric) if metric in known() else None
    return {
        "sae": sae,
        "metric": metric,
        "params": params,
        "value": None,
        "se": None,
        "ci": None,
        "n": {},
        "seeds": 0,
        "direction": spec.direction if spec else "none",
        "unit": spec.unit if spec else "",
        "range": [spec.low, spec.high] if spec else [None, None],
        "status": "undefined",
        "reason": reason,
        "verdict": "unmeasured",
        "rule": None,
        "baseline": None,
        "controls": [],
        "seconds": 0.0,
        "peak_memory": 0,
        "fingerprints": {},
        "details": {},
        "nodeid": nodeid,
        "outcome": outcome,
        "worker": "",
    }


def rule_row(rule: Rule | None, direction: str, decided_by: str = "") -> Row | None:
    """Return a rule as it is in force, with the line of the key that decided."""
    if rule is None:
        return None
    regression = rule.allowed(direction)
    return {
        "name": rule.name,
        "min": rule.min,
        "max": rule.max,
        "max_se": rule.max_se,
        "regression": dataclasses.asdict(regression) if regression else None,
        "gate": rule.gate,
        "optional": rule.optional,
        "reason": rule.reason,
        "override": rule.override,
        "file": rule.file,
        "line": rule.line(decided_by),
    }


def baseline_row(against: Against | None) -> Row | None:
    """Return what a baseline says about a measurement; None where there is no baseline."""
    if against is None:
        return None
    told = {**dataclasses.asdict(against), "differs": list(against.differs)}
    # The direction is the metric's, and so the row's.
    return {name: value for name, value in told.items() if name != "direction"}


def control_row(control: Control, value: object, se: object) -> Row:
    """Return what a metric says of a control, and whether that is as it must be."""
    row: Row = to_builtin({**dataclasses.asdict(control), "holds": holds(value, se, control)})
    lost = row["value"] is None and row["status"] == "ok"
    return {**row, "status": "undefined" if lost else row["status"]}


def controls_of(row: Row) -> tuple[Control, ...]:
    """Return the controls of a row, as the gate takes them."""
    return tuple(
        Control(**{name: value for name, value in each.items() if name != "holds"})
        for each in row["controls"]
    )


def doubt_of(row: Row) -> str:
    """Return why the metric of a row does not discriminate here, empty if it does."""
    return doubt(row["value"], row["se"], controls_of(row))


def is_red_row(row: Row) -> bool:
    """Whether a row fails the run."""
    required = bool(row["baseline"] and row["baseline"]["required"])
    return is_red(row["verdict"], row["outcome"], required)


def is_declined(row: Row) -> bool:
    """Whether a row says that its metric, or its data, does not exist here: and it is not red."""
    return bool(row["status"] in ABSENT and row["verdict"] == "ungated")


def key_of(row: Row) -> str:
    """Return metric and setting of a row as one word: `scr:n=20`."""
    return metric_key(row["metric"], row["params"])


def values_of(rows: Iterable[Row]) -> dict[tuple[str, str], float]:
    """Return every value there is, by SAE and key."""
    return {(row["sae"], key_of(row)): row["value"] for row in rows if row["value"] is not None}


def headline_of(row: Row) -> str:
    """Return the complete first line of a row."""
    return headline(row["sae"], key_of(row), row["value"], row["verdict"], row["reason"])


def shown_value(row: Row) -> str:
    """Return value and standard error for people."""
    if row["value"] is None:
        return "-"
    error = f" ± {number(row['se'])}" if row["se"] is not None else ""
    return number(row["value"]) + error


def told_repeats(row: Row) -> str:
    """Return how a value moved from repeat to repeat; empty where there was only one."""
    repeats = row["details"].get("repeats")
    if not isinstance(repeats, Mapping):
        return ""
    return f"sd {number(repeats['sd'])} over {len(repeats['values'])} repeats"


def shown_bound(row: Row) -> str:
    """Return the bounds of a row for people, `-` where it has none."""
    rule = row["rule"]
    if rule is None or (rule["min"] is None and rule["max"] is None):
        return "-"
    return bounds(rule["min"], rule["max"])


def shown_baseline(row: Row) -> str:
    """Return the baseline of a row and the difference to it for people, `-` where it has none."""
    baseline = row["baseline"]
    if baseline is None or baseline["value"] is None:
        return "-"
    if row["value"] is None or baseline["differs"]:
        return number(baseline["value"])
    return f"{number(baseline['value'])} ({difference(row['value'], baseline['value'])})"


def told_baseline(row: Row) -> str:
    """Return all that a baseline says about a row: value, difference, tolerance, noise, source.

    Empty where the row was compared with nothing.
    """
    baseline, rule = row["baseline"], row["rule"]
    if baseline is None:
        return ""
    if baseline["value"] is None:
        return f"none in {baseline['source']}"
    parts = [shown_baseline(row)]
    regression = rule["regression"] if rule else None
    if regression and row["value"] is not None and not baseline["differs"]:
        parts.append(f"tolerance {number(Regression(**regression).tolerance(baseline['value']))}")
        parts.append(f"noise {_noise(row, regression['sigma'])}")
    return f"{', '.join(parts)}; {'; '.join([baseline['source'], *baseline['differs']])}"


def _noise(row: Row, sigma: float) -> str:
    against = against_of(row)
    noise, unpaired = against.noise(row["se"]), against.unpaired(row["se"])
    if against.paired is not None:
        return f"{sigma:g} x {number(noise)} (paired: instead of {number(unpaired)})"
    return f"{sigma:g} x {number(noise)}" if noise else "unknown (no standard error)"


def against_of(row: Row) -> Against:
    """Return what a row was compared with, as the gate takes it."""
    return Against(direction=row["direction"], **row["baseline"])


def sort_key(row: Row) -> tuple[object, ...]:
    """Return what rows are ordered by: SAE, metric, params (numbers as numbers), test."""
    params = tuple(
        (name, isinstance(value, str), str(value) if isinstance(value, str) else value)
        for name, value in sorted(row["params"].items())
    )
    return row["sae"], row["metric"], params, row["nodeid"]
