"""Properties of the whole suite in pytest's JUnit file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_sae.records.report import Report

if TYPE_CHECKING:
    import pytest


def add_suite_properties(config: pytest.Config, report: Report) -> None:
    """Add verdict, suite and thresholds, if a JUnit file is being written.

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
