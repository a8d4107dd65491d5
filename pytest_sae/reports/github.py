"""What GitHub Actions shows: the step summary, and errors at the lines of the rules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.reports.summary import red_rows

# GitHub drops the whole summary of a step above 1 MiB, and shows ten annotations of a kind.
_MOST_BYTES = 1024 * 1024
_MOST_ANNOTATIONS = 10


def append_summary(text: str, environment: Mapping[str, str]) -> None:
    """Append Markdown to the step summary, where there is one, without exceeding its limit.

    Args:
        text: the Markdown; its end is cut off where it would be too long.
        environment: of the process; GITHUB_STEP_SUMMARY names the file.
    """
    target = environment.get("GITHUB_STEP_SUMMARY")
    if not target:
        return
    path = Path(target)
    room = _MOST_BYTES - (path.stat().st_size if path.exists() else 0)
    with path.open("ab") as file:
        file.write(_cut(text.encode("utf-8"), room))


def _cut(content: bytes, room: int) -> bytes:
    if len(content) <= room:
        return content
    note = b"\n\n(cut: the whole report is in report.md)\n"
    kept = content[: max(0, room - len(note))]
    # The last line may be cut in the middle of a table row or of a character.
    return kept[: kept.rfind(b"\n") + 1] + note if kept else b""


def workflow_commands(report: Report, environment: Mapping[str, str]) -> list[str]:
    """Return the workflow commands that mark each failure at its rule; none outside of GitHub.

    Args:
        report: whose failures they are; the first ten, for GitHub shows no more.
        environment: of the process; GITHUB_ACTIONS says whether this is GitHub.
    """
    if environment.get("GITHUB_ACTIONS") != "true":
        return []
    return [_annotation(row) for row in red_rows(report)[:_MOST_ANNOTATIONS]]


def _annotation(row: Row) -> str:
    rule = row.rule
    place = f"file={_property(rule.file)},line={rule.line}," if rule else ""
    return f"::error {place}title=SAE gate::{_data(row.headline)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
