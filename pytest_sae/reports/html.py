"""report.html: one self-contained file to look at, drawn from report.json alone."""

from __future__ import annotations

from html import escape

from pytest_sae.numbers.plain import number
from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.told import (
    shown_bound,
    shown_value,
    told_baseline,
    told_control,
    told_repeats,
)
from pytest_sae.reports.audit import html_audit
from pytest_sae.reports.html_about import about, lasting
from pytest_sae.reports.html_bars import interval_of
from pytest_sae.reports.html_charts import charts, frontiers
from pytest_sae.reports.html_judged import judged
from pytest_sae.reports.html_latents import latents
from pytest_sae.reports.html_marks import badge, colours, sort_of, tallies
from pytest_sae.reports.html_style import STYLE
from pytest_sae.reports.html_table import comparison
from pytest_sae.reports.summary import (
    failures,
    judge_lines,
    red_rows,
    source_of,
    verdict_line,
)

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def html(report: Report) -> str:
    """Return the report as one HTML file: no script, nothing fetched, everything escaped."""
    rows, saes = report.measurements, colours(report)
    body = [
        _banner(report, len(saes)),
        _failures(report),
        comparison(rows, saes),
        charts(rows, saes),
        frontiers(rows, saes),
        latents(rows, saes),
        judged(rows, saes),
        html_audit(report.audit),
        about(report),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(verdict_line(report))}</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{chr(10).join(part for part in body if part)}\n</main></body></html>\n"
    )


def _banner(report: Report, saes: int) -> str:
    verdict, whole = report.verdict, report.complete
    counted = "".join(
        f'<li class="{sort}"><b>{count}</b> {escape(name)}</li>'
        for sort, name, count in tallies(report.measurements)
    )
    facts = [
        f"{saes} SAE{'s' * (saes != 1)}",
        f"suite {report.options.get('suite') or '-'}",
        report.started.replace("T", " ").replace("+00:00", " UTC"),
        f"took {lasting(report.duration)}",
        "complete" if whole else "",
    ]
    cut = "" if whole else "<b>incomplete: not everything that was asked for is here</b>"
    judges = "".join(f"<p>{escape(line)}</p>" for line in judge_lines(report))
    return (
        f'<header class="banner {sort_of(verdict)}"><h1>SAE gate <b>{escape(verdict)}</b></h1>'
        f'<ul class="tallies">{counted or "<li>nothing measured</li>"}</ul>'
        f"<p>{escape(' · '.join(filter(None, facts)))}{cut}</p>{judges}</header>"
    )


def _failures(report: Report) -> str:
    rows, told = red_rows(report), failures(report)
    # `failures` tells problems, rows and tests in this order; only a row has more to show.
    problems, tests = report.problems, told[len(report.problems) + len(rows) :]
    cards = [
        *(_card("problem", problem) for problem in problems),
        *map(_red_card, rows),
        *(_card("test", test) for test in tests),
    ]
    if not cards:
        return ""
    return f'<section><h2>What failed</h2><div class="cards">{"".join(cards)}</div></section>'


def _card(kind: str, line: str) -> str:
    return f'<article><span class="badge bad">✗ {kind}</span><p>{escape(line)}</p></article>'


def _red_card(row: Row) -> str:
    bound, source = shown_bound(row), source_of(row)
    told = {
        "value": shown_value(row) if row.value is not None else "",
        "interval": " to ".join(map(number, interval_of(row))),
        "rule": " at ".join(part for part in ("" if bound == "-" else bound, source) if part),
        "baseline": told_baseline(row),
        "controls": "; ".join(map(told_control, row.controls)),
        "because": row.rule.reason if row.rule else "",
        "from": ", ".join(f"{count} {what}" for what, count in row.n.items()),
        "repeats": told_repeats(row),
        "test": row.nodeid,
    }
    facts = "".join(
        f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in told.items() if text
    )
    return f"<article>{badge(row)}<p>{escape(row.headline)}</p><dl>{facts}</dl></article>"
