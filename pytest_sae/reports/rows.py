"""Rows: what one judged measurement becomes when it travels to the controller and into reports."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_sae.gate.verdict import Verdict, as_number, bounds, headline, number
from pytest_sae.keys import metric_key, parse_key
from pytest_sae.metrics.registry import known, spec_of

if TYPE_CHECKING:
    from pytest_sae.gate.bounds import Rule
    from pytest_sae.measurement import Measurement

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


def row_of(measurement: Measurement, verdict: Verdict, rule: Rule | None, nodeid: str) -> Row:
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
        "rule": rule_row(rule, verdict.decided_by),
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
        "seconds": 0.0,
        "peak_memory": 0,
        "fingerprints": {},
        "details": {},
        "nodeid": nodeid,
        "outcome": outcome,
        "worker": "",
    }


def rule_row(rule: Rule | None, decided_by: str = "") -> Row | None:
    """Return a rule as reports show it, with the line of the key that decided."""
    if rule is None:
        return None
    return {
        "name": rule.name,
        "min": rule.min,
        "max": rule.max,
        "max_se": rule.max_se,
        "gate": rule.gate,
        "reason": rule.reason,
        "file": rule.file,
        "line": rule.line(decided_by),
    }


def is_declined(row: Row) -> bool:
    """Whether a row says that its metric does not exist here: not measured, and not red."""
    return bool(row["status"] == "not_applicable" and row["verdict"] == "ungated")


def key_of(row: Row) -> str:
    """Return metric and setting of a row as one word: `scr:n=20`."""
    return metric_key(row["metric"], row["params"])


def headline_of(row: Row) -> str:
    """Return the complete first line of a row."""
    return headline(row["sae"], key_of(row), row["value"], row["verdict"], row["reason"])


def shown_value(row: Row) -> str:
    """Return value and standard error for people."""
    if row["value"] is None:
        return "-"
    error = f" ± {number(row['se'])}" if row["se"] is not None else ""
    return number(row["value"]) + error


def shown_bound(row: Row) -> str:
    """Return the bounds of a row for people, `-` where it has none."""
    rule = row["rule"]
    if rule is None or (rule["min"] is None and rule["max"] is None):
        return "-"
    return bounds(rule["min"], rule["max"])


def sort_key(row: Row) -> tuple[object, ...]:
    """Return what rows are ordered by: SAE, metric, params (numbers as numbers), test."""
    params = tuple(
        (name, isinstance(value, str), str(value) if isinstance(value, str) else value)
        for name, value in sorted(row["params"].items())
    )
    return row["sae"], row["metric"], params, row["nodeid"]
