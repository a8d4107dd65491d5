"""Every file of a report, drawn from the one dictionary."""

from __future__ import annotations

import os
from pathlib import Path

from pytest_sae.errors import PytestSAEError
from pytest_sae.records.influence_file import Influence, write_influence
from pytest_sae.records.report import NAME, Report
from pytest_sae.records.row import values_of
from pytest_sae.records.schema import read_values, write_report, write_whole
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


def apart(report: Report, directory: Path) -> Path:
    """Return where a report goes: one that is not whole does not replace one that is.

    Args:
        report: to be written.
        directory: that was asked for.
    """
    if report.complete or not (directory / NAME).is_file():
        return directory
    try:
        whole = read_values(directory / NAME).complete
    except PytestSAEError:
        whole = True  # not ours to judge, and so not ours to replace
    return directory / "partial" if whole else directory


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
