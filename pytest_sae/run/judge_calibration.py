"""Families that a judge has a say in: measured only after the judge has passed its calibration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_sae.gate.verdict import judge
from pytest_sae.records.verdicts import headline
from pytest_sae.run.failures import guarded
from pytest_sae.run.measurements import Measurements

if TYPE_CHECKING:
    from pytest_sae.run.run import Run

CALIBRATION = "judge_calibration"


def judged(family: str, run: Run, test: Path, sae: Any, evaluation: Any) -> Measurements:
    """Return what a judged family measured on an SAE.

    Args:
        family: `judge_calibration`, `shift` or `autointerp`.
        run: the pytest run.
        test: the test that asks; its thresholds say what the calibration has to reach.
        sae: the loaded dictionary.
        evaluation: the session.

    Returns:
        All of it undefined, and the judge asked nothing more, if the calibration is red.
    """
    calibration = _measured(CALIBRATION, run, sae, evaluation)
    if family == CALIBRATION:
        return calibration
    problem = _red(calibration, run, test)
    if not problem:
        return _measured(family, run, sae, evaluation)
    reason = f"the judge failed its calibration: {problem}"
    return Measurements(family, evaluation.unmeasured(family, sae, reason))


def _measured(family: str, run: Run, sae: Any, evaluation: Any) -> Measurements:
    """Measure once, and fail once: a judge that does not answer is not asked by every test."""
    key = (family, sae.id)
    if key in run.failed:
        pytest.fail(run.failed[key], pytrace=False)
    try:
        what = f"measuring {family} on {sae.id}"
        return Measurements(family, guarded(what, lambda: evaluation.measure(family, sae)))
    except pytest.fail.Exception as failure:
        run.failed[key] = str(failure)
        raise


def _red(calibration: Measurements, run: Run, test: Path) -> str:
    """Return the first line of the first calibration that is red, empty if none is."""
    if not run.options.gate:
        return ""
    thresholds = run.thresholds_for(test)
    for key in calibration.keys():  # noqa: SIM118 - a lookup by key, not a dict
        measurement = calibration[key]
        estimate = measurement.estimate
        rule = thresholds.rule_for(estimate.metric, estimate.params, measurement.sae)
        verdict = judge(estimate, rule)
        if verdict.red:
            return headline(measurement.sae, key, None, verdict.name, verdict.reason)
    return ""
