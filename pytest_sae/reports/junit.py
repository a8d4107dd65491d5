"""The whole run in pytest's JUnit file: its properties, and what is red without a failed test."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_sae.records.report import Report
from pytest_sae.reports.summary import failures, verdict_line

#: Outcomes of tests that the file shows as a failure or an error of their own.
_SHOWN = ("failed", "error", "crashed")


def add_to_junit(config: pytest.Config, report: Report) -> None:
    """Add verdict, suite and thresholds, if a JUnit file is being written.

    Most services look at test cases alone. Where the run is red and no test of it is, one called
    `pytest-sae gate` fails, and says why.

    pytest has no public way to do that from the controller of a distributed run.

    Args:
        config: pytest's, of the controller.
        report: of the run.
    """
    try:
        from _pytest.junitxml import xml_key
    except ImportError:
        return
    xml = config.stash.get(xml_key, None)
    if xml is None:
        return
    xml.add_global_property("sae.verdict", report.verdict)
    xml.add_global_property("sae.complete", str(report.complete))
    xml.add_global_property("sae.suite", str(report.options.get("suite", "")))
    for each in report.thresholds:
        xml.add_global_property("sae.thresholds", f"{each.file} {each.sha256}")
    told = _untold(report)
    if told:
        xml.pytest_runtest_logreport(_failed("\n".join(told)))


def _untold(report: Report) -> list[str]:
    """What makes a run red, and stands in no failed test."""
    if report.exit_status == 0:
        return []
    rows = tuple(row for row in report.measurements if row.outcome not in _SHOWN)
    tests = tuple(test for test in report.tests if test.outcome not in _SHOWN)
    told = failures(replace(report, measurements=rows, tests=tests))
    refused = report.options.get("ci") and not report.options.get("partial")
    return [verdict_line(report)] if report.verdict == "partial" and refused else told


def _failed(told: str) -> pytest.TestReport:
    return pytest.TestReport("pytest-sae::gate", ("", None, "gate"), {}, "failed", told, "call")
