"""SAEs with values by hand, as calibration takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_sae.gate.bounds import parse_thresholds
from pytest_sae.gate.calibrate import Calibration, Known
from pytest_sae.gate.judged import rejudged_against
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Estimate, undefined
from pytest_sae.records.measurement import Measurement
from pytest_sae.records.row import Row
from pytest_sae.records.verdicts import Verdict
from tests.records.rows import row_of

PRINTS = {"model": "m", "data": "d", "suite": "smoke", "site": "s"}


def row(
    sae: str,
    metric: str,
    value: float | None,
    se: float | None = None,
    *controls: Control,
    prints: Mapping[str, str] = PRINTS,
    **params: Any,
) -> Row:
    """Return a row that nothing has judged yet."""
    if value is None:
        estimate = undefined(metric, "why", params)
    else:
        estimate = Estimate(metric, value, params, se=se)
    measurement = Measurement(sae, estimate, fingerprints={**prints, "sae": sae}, controls=controls)
    return row_of(measurement, Verdict("ungated", ""), None, "t")


def known(name: str, *rows: Row) -> Known:
    """Return an SAE with rows."""
    return Known(name, {each.key: each for each in rows})


def verdicts(calibration: Calibration, sae: Known) -> dict[str, str]:
    """Return what the written file says of an SAE, by key; of what it has no rule for, nothing."""
    rules = parse_thresholds(calibration.text().encode(), "made.toml").rules
    return {
        key: rejudged_against(each, None, rules[key], "").verdict
        for key, each in sae.rows.items()
        if key in rules
    }
