"""report.md: the verdict first, then what failed, then everything."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.told import shown_bound, shown_value
from pytest_sae.reports.audit import markdown_audit
from pytest_sae.reports.controls import control_cells, doubt_lines
from pytest_sae.reports.summary import (
    failures,
    judge_lines,
    remark_lines,
    source_of,
    update_lines,
    verdict_line,
    with_baseline,
)

_HEADER = ("SAE", "metric", "value ± se", "bound", "verdict", "rule")
_CONTROLS = ("SAE", "metric", "control", "value ± se", "is")
_BASELINE = 4  # the column before which the baseline stands, where there is one


def markdown(report: Report) -> str:
    """Return the report as Markdown, drawn from report.json alone."""
    rows = report.measurements
    red = [row for row in rows if row.red]
    rest = [row for row in rows if not row.red]
    notes = "\n\n".join(map(_escaped, [*judge_lines(report), *remark_lines(report)]))
    parts = [f"## {_escaped(verdict_line(report))}", notes, _failures(report)]
    if red:
        parts.append(_table(red))
    if rest:
        parts.append(_folded(f"{len(rest)} measurements that do not fail", _table(rest)))
    parts.append(_controls(rows))
    parts.append("\n".join(f"- {_escaped(line)}" for line in update_lines(report)))
    if report.audit:
        parts.append(_folded("audit of the metrics", markdown_audit(report.audit)))
    parts.append(_footer(report))
    return "\n\n".join(part for part in parts if part) + "\n"


def _failures(report: Report) -> str:
    return "\n".join(f"- {_escaped(line)}" for line in failures(report))


def _controls(rows: Sequence[Row]) -> str:
    cells = control_cells(rows)
    if not cells:
        return ""
    doubtful = "\n".join(f"- {_escaped(line)}" for line in doubt_lines(rows))
    table = _folded(f"{len(cells)} values of controls", _lines([_CONTROLS, *cells]))
    return "\n\n".join(filter(None, [doubtful, table]))


def _table(rows: Sequence[Row]) -> str:
    lines = [_HEADER, *map(_cells, rows)]
    if any(row.baseline for row in rows):
        lines = with_baseline(lines, rows, _BASELINE)
    return _lines(lines)


def _lines(lines: Sequence[tuple[str, ...]]) -> str:
    header, *rest = [f"| {' | '.join(map(_escaped, cells))} |" for cells in lines]
    return "\n".join([header, "|---" * len(lines[0]) + "|", *rest])


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.sae, row.key, shown_value(row), shown_bound(row), row.verdict, source_of(row),
    )  # fmt: skip


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"


def _footer(report: Report) -> str:
    told = [f"{name} {version}" for name, version in report.versions.items()]
    files = [f"{each.file} ({each.sha256[:8]})" for each in report.thresholds]
    suite = report.options.get("suite", "")
    return _escaped(f"suite {suite}; bounds {', '.join(files) or 'none'}; {', '.join(told)}")


def _escaped(text: str) -> str:
    # Ids and reasons come from files under test: none of them may draw anything.
    for character in "\\`*_[]<>|#":
        text = text.replace(
            character, f"\\{character}" if character not in "<>" else _ENTITIES[character]
        )
    return " ".join(text.split())


_ENTITIES = {"<": "&lt;", ">": "&gt;"}
