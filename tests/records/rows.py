"""Rows as the gate makes them, in one step."""

from __future__ import annotations

from pytest_sae.gate.judged import judged
from pytest_sae.gate.rules import Rule
from pytest_sae.records.measured_row import measured_row
from pytest_sae.records.measurement import Measurement
from pytest_sae.records.row import Against, Row
from pytest_sae.records.verdicts import Verdict


def row_of(
    measurement: Measurement,
    verdict: Verdict,
    rule: Rule | None,
    nodeid: str,
    against: Against | None = None,
) -> Row:
    """Return the row of a judged measurement."""
    return judged(measured_row(measurement, nodeid), verdict, rule, against)
