"""report.html: one self-contained file to look at, drawn from report.json alone.

One script of its own, which the page's policy names by its hash, so that nothing that a report
says runs; nothing fetched, everything escaped. Charts are inline SVG: all of them together are a
tenth of what a plotting library would add, they print as they are, and need no script to be seen.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache

from markupsafe import Markup

from pytest_sae.numbers.plain import number
from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.told import (
    shown_bound,
    shown_value,
    told_baseline,
    told_control,
    told_counts,
    told_repeats,
)
from pytest_sae.reports.audit import html_audit
from pytest_sae.reports.html_about import about, lasting
from pytest_sae.reports.html_bars import interval_of
from pytest_sae.reports.html_charts import charts, frontiers
from pytest_sae.reports.html_first import changes, first, in_short
from pytest_sae.reports.html_judged import judged
from pytest_sae.reports.html_latents import latents
from pytest_sae.reports.html_marks import colours
from pytest_sae.reports.html_quality import quality
from pytest_sae.reports.html_table import CHANGED, comparison
from pytest_sae.reports.pages import rendered
from pytest_sae.reports.summary import (
    failures,
    judge_lines,
    red_rows,
    rerun_of,
    source_of,
    verdict_line,
)

#: SAEs up to which a page holds all there is: some 200 kB each.
FEW = 24
_FIGURES = 40  # of each of many SAEs
_CARDS = 300  # of what failed, where there are many
_LINES = 1_000  # values of many SAEs


def html(report: Report) -> str:
    """Return the report as one HTML file; of many SAEs what decides and what is red."""
    saes = colours(report)
    return _whole(report, saes) if len(saes) <= FEW else _of_many(report, saes)


def _whole(report: Report, saes: Mapping[str, str]) -> str:
    rows = report.measurements
    front = [first(report, saes), changes(rows, saes), quality(rows, saes)]
    sections = [
        comparison(rows, saes, rows),
        charts(rows, saes),
        frontiers(rows, saes),
        latents(rows, saes),
        judged(rows, saes),
        html_audit(report.audit),
        about(report),
    ]
    return _page(report, len(saes), front, sections, len(rows) + len(report.tests))


def _of_many(report: Report, saes: Mapping[str, str]) -> str:
    """Figures that decide as a table of SAEs; of each value only what fails or has changed."""
    rows = report.measurements
    told = [row for row in rows if row.red] + [
        row for row in rows if not row.red and row.verdict in CHANGED
    ]
    note = (
        f"{len(saes)} SAEs: this page has the figures that decide, and what fails or has changed"
        f"{f' (of {len(told):,} such values {_LINES:,})' if len(told) > _LINES else ''}. "
        "All values, curves and latents of one SAE: pytest-sae report report.json --sae=NAME. "
        "All values as a table: pytest-sae export report.json."
    )
    front = [first(report, saes, _FIGURES), changes(rows, saes), quality(rows, saes)]
    sections = [comparison(told[:_LINES], saes, rows), html_audit(report.audit), about(report)]
    return _page(report, len(saes), front, sections, _CARDS, note)


def _page(
    report: Report,
    saes: int,
    front: Sequence[Markup],
    sections: Sequence[Markup],
    cards: int,
    note: str = "",
) -> str:
    red = red_rows(report)
    # `failures` tells problems, rows and tests in this order; only a row has more to show.
    tests = failures(report)[len(report.problems) + len(red) :]
    page = rendered(
        "report.html",
        report=report,
        title=verdict_line(report),
        in_short=in_short(report) if saes > 1 else "",
        facts=" · ".join(filter(None, _facts(report, saes))),
        notes=[*filter(None, [note]), *report.remarks, *judge_lines(report)],
        problems=report.problems[:cards],
        red=[(row, _told(row), rerun_of(report, row)) for row in red[:cards]],
        tests=tests[:cards],
        more=sum(max(0, len(each) - cards) for each in (report.problems, red, tests)),
        front=front,
        sections=sections,
        contents=_contents(report, [*front, *sections]),
        script_hash=script_hash(),
    )
    return str(page)


_PARTS = {
    "verdicts": "SAEs",
    "changes": "Against the baseline",
    "quality": "Quality and sparsity",
    "failed": "What failed",
    "measurements": "Measurements",
    "metrics": "What each metric is",
    "curves": "Curves over n",
    "frontiers": "Erasure frontiers",
    "latents": "Latents and tokens",
    "shift": "SHIFT",
    "explained": "What latents are about",
    "audit": "Can metrics be believed?",
    "about": "How it was made",
}


def _contents(report: Report, sections: Sequence[str]) -> list[tuple[str, str]]:
    """Return the parts that the page has, each with its id."""
    page = "".join(sections)
    failed = bool(report.problems or failures(report))
    there = {name: f'<section id="{name}"' in page for name in _PARTS} | {"failed": failed}
    return [("top", "Verdict"), *((name, text) for name, text in _PARTS.items() if there[name])]


@cache
def script_hash() -> str:
    """Return what the page's policy lets run: its own script, to the letter."""
    digest = hashlib.sha256(str(rendered("report.js")).encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _facts(report: Report, saes: int) -> list[str]:
    return [
        f"{saes} SAE{'s' * (saes != 1)}",
        f"suite {report.options.get('suite') or '-'}",
        report.started.replace("T", " ").replace("+00:00", " UTC"),
        f"took {lasting(report.duration)}",
        "complete" if report.complete else "",
    ]


def _told(row: Row) -> dict[str, str]:
    bound, source = shown_bound(row), source_of(row)
    return {
        "value": shown_value(row) if row.value is not None else "",
        "interval": " to ".join(map(number, interval_of(row))),
        "rule": " at ".join(part for part in ("" if bound == "-" else bound, source) if part),
        "baseline": told_baseline(row),
        "controls": "; ".join(map(told_control, row.controls)),
        "because": row.rule.reason if row.rule else "",
        "from": told_counts(row.n),
        "repeats": told_repeats(row),
        "test": row.nodeid,
    }
