"""Every file of a report, drawn from the one dictionary."""

from __future__ import annotations

import os
from pathlib import Path

from pytest_sae.records.influence_file import Influence, write_influence
from pytest_sae.records.report import NAME, Report
from pytest_sae.records.row import values_of
from pytest_sae.records.schema import write_report, write_whole
from pytest_sae.reports.github import append_summary
from pytest_sae.reports.html import html
from pytest_sae.reports.markdown import markdown

_NONE: Influence = {}


def write_all(report: Report, directory: Path, influence: Influence = _NONE) -> None:
    """Write report.json with what stands beside it, report.md and report.html.

    Args:
        report: all of it.
        directory: where to.
        influence: what each text adds to the errors of its values.
    """
    draw(report, directory)
    limit = int(report.options.get("baseline_texts", 0))
    write_influence(directory / NAME, values_of(report.measurements), influence, limit)
    # Last: where the disk is full, an earlier report.json says that the run has not ended.
    write_report(report, directory)


def draw(report: Report, directory: Path) -> None:
    """Write what is drawn from a report: report.md and report.html.

    Args:
        report: all of it.
        directory: where to; it is made if it is missing.
    """
    write_whole(directory / "report.md", markdown(report))
    write_whole(directory / "report.html", html(report))


def publish(report: Report) -> None:
    """Append the report to the summary of a GitHub step, if this is one."""
    append_summary(markdown(report), os.environ)
