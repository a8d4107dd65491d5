"""Every file of a report, drawn from the one dictionary."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_sae.reports.github import append_summary
from pytest_sae.reports.html import html
from pytest_sae.reports.markdown import markdown
from pytest_sae.reports.records import write_report, write_whole


def write_all(report: Mapping[str, Any], directory: Path) -> None:
    """Write report.json, report.md and report.html; at the end of a run also GitHub's summary."""
    write_report(report, directory)
    draw(report, directory)


def draw(report: Mapping[str, Any], directory: Path) -> None:
    """Write what is drawn from a report: report.md and report.html."""
    write_whole(directory / "report.md", markdown(report))
    write_whole(directory / "report.html", html(report))


def publish(report: Mapping[str, Any]) -> None:
    """Append the report to the summary of a GitHub step, if this is one."""
    append_summary(markdown(report), os.environ)
