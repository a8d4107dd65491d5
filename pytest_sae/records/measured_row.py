"""The row of a measurement that is not judged yet: whatever somebody's estimate holds, checked."""

from __future__ import annotations

import json
import reprlib
from typing import Any

from pydantic import ValidationError

from pytest_sae.errors import EstimateError, suggest
from pytest_sae.families.registry import known
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.numbers.plain import as_number
from pytest_sae.records.builtin import to_builtin, writable
from pytest_sae.records.measurement import Measurement
from pytest_sae.records.row import Row, unmeasured_row
from pytest_sae.records.schema import builtins, checked, parsed


def measured_row(measurement: Measurement, nodeid: str) -> Row:
    """Return the row of a measurement, unmeasured until the gate has judged it.

    Args:
        measurement: of a metric on an SAE.
        nodeid: of the test that judges it.

    Raises:
        EstimateError: a field is not what it must be; says what was found, and what was expected.
    """
    told = {name: _builtin(name, value) for name, value in _fields(measurement).items()}
    try:
        # As deep as in a report: no parser takes JSON of any depth.
        ((row,),) = parsed(list[list[Row]], json.dumps([[{**told, "nodeid": nodeid}]]))
    except ValidationError as error:
        raise EstimateError(_told(error)) from None
    except (ValueError, RecursionError) as error:
        raise EstimateError(f"it cannot be written as JSON: {error}.") from None
    _check_precision(row, measurement.estimate)
    return row


def _check_precision(row: Row, estimate: Estimate) -> None:
    """Refuse NaN and infinity, which are null in JSON: a value without an error would be exact."""
    measured = row.value is not None
    if measured and row.se is None and estimate.se is not None:
        raise EstimateError(f"se is {_shown(estimate.se)}. Expected a finite number, or None.")
    if row.ci is not None and (len(row.ci) != 2 or (measured and None in row.ci)):
        raise EstimateError(f"ci is {_shown(estimate.ci)}. Expected both ends of an interval.")


def influence_of(measurement: Measurement) -> list[float]:
    """Return what each unit adds to the error of a measurement.

    Raises:
        EstimateError: not a sequence of finite numbers.
    """
    told = _builtin("influence", measurement.estimate.influence)
    numbers = [as_number(each) for each in told] if isinstance(told, list) else [None]
    kept = [each for each in numbers if each is not None]
    if len(kept) < len(numbers):
        shown = _shown(measurement.estimate.influence)
        raise EstimateError(f"influence is {shown}. Expected a finite number for each unit.")
    return kept


def refused_row(measurement: Measurement, why: str, nodeid: str) -> Row:
    """Return the row that stands for a measurement with a field that is not what it must be.

    Args:
        measurement: of which metric and setting are kept as far as they can be.
        why: it is refused.
        nodeid: of the test that judges it.
    """
    metric, params = measurement.estimate.metric, measurement.estimate.params
    blank = unmeasured_row(
        measurement.sae, metric if _known(metric) else "?", writable(why), nodeid
    )
    for kept in ({"metric": metric, "params": params}, {"metric": metric}):
        try:
            told = {name: _builtin(name, value) for name, value in kept.items()}
            return checked(Row, {**builtins(blank), **told})
        except (EstimateError, ValueError, RecursionError):
            continue
    return blank


def _fields(measurement: Measurement) -> dict[str, object]:
    estimate = measurement.estimate
    if not _known(estimate.metric):
        raise EstimateError(_unknown(estimate.metric))
    spec = measurement.spec
    return {
        "sae": measurement.sae,
        "metric": estimate.metric,
        "params": estimate.params,
        "value": as_number(estimate.value),
        "se": estimate.se,
        "ci": estimate.ci,
        "n": estimate.n,
        "seeds": estimate.seeds,
        "direction": spec.direction,
        "unit": spec.unit,
        "range": (spec.low, spec.high),
        "status": estimate.status,
        "reason": estimate.reason,
        "verdict": "unmeasured",
        "rule": None,
        "baseline": None,
        "controls": [{**vars(each), "holds": None} for each in measurement.controls],
        "seconds": measurement.seconds,
        "peak_memory": measurement.peak_memory,
        "fingerprints": measurement.fingerprints,
        "details": estimate.details,
        "outcome": "missing",
        "worker": "",
    }


def _known(metric: object) -> bool:
    return isinstance(metric, str) and metric in known()


def _unknown(metric: object) -> str:
    near = suggest(metric, known()) if isinstance(metric, str) else ""
    return f"metric is {_shown(metric)}. Expected one that is registered.{near}"


def _builtin(name: str, value: object) -> Any:
    try:
        return to_builtin(value)
    except Exception as error:
        # Objects of any class may stand there, and it is their own methods that were called.
        raise EstimateError(f"{name} cannot be read: {type(error).__name__}.") from None


def _shown(value: object) -> str:
    try:
        return reprlib.repr(value)
    except Exception:
        return f"a {type(value).__name__} that cannot be shown"


def _told(error: ValidationError) -> str:
    first = error.errors()[0]
    place, expected = first["loc"][2:], str(first["msg"])
    if not place:
        return f"it cannot be written as JSON: {expected}."
    if place[0] == "params" and len(place) > 2:
        # Any of several kinds would do, and the last part of the place names the first of them.
        place, expected = place[:2], "a bool, an int, a float or a str"
    where = ".".join(map(str, place))
    found = _shown(first["input"])
    return f"{where} is {found}. Expected {expected.removeprefix('Input should be ')}."
