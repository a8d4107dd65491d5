"""report.html: one self-contained file to look at, drawn from report.json alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

from pytest_sae.gate.verdict import number
from pytest_sae.reports.curves import curve_svg
from pytest_sae.reports.rows import Row, key_of, shown_bound, shown_value
from pytest_sae.reports.summary import Report, failures, is_red_row, source_of, verdict_line

_BAR = 160
_STYLE = """
:root { color-scheme: light dark; --good: #2a7d3f; --bad: #c0262d; --soft: #8884; --line: #3b6fb5; }
@media (prefers-color-scheme: dark) { :root { --good: #6cc583; --bad: #ff7b80; --line: #8ab4f0; } }
body { font: 14px/1.45 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25em .8em .25em 0; border-bottom: 1px solid var(--soft); }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); }
h1 { font-size: 1.35em; } h2 { font-size: 1.1em; margin-top: 2em; }
figure { display: inline-block; margin: .8em 1.2em 0 0; } figcaption { font-size: .9em; }
svg text { font-size: 9px; fill: currentColor; } .axis { stroke: var(--soft); }
.band { fill: var(--line); opacity: .2; } .line { fill: none; stroke: var(--line); }
.mark, .value { fill: var(--line); } .interval { stroke: var(--line); stroke-width: 2; }
.bound { stroke: var(--bad); stroke-width: 2; } .track { fill: var(--soft); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; } code { font-size: .92em; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def html(report: Report) -> str:
    """Return the report as one HTML file: no script, nothing fetched, everything escaped."""
    good = report["verdict"] in ("pass", "ungated", "improved")
    body = [
        f'<h1 class="{"good" if good else "bad"}">{escape(verdict_line(report))}</h1>',
        _failures(report),
        *(_sae(sae, list(rows)) for sae, rows in _by_sae(report)),
        _about(report),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(verdict_line(report))}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{chr(10).join(body)}\n</body></html>\n"
    )


def _by_sae(report: Report) -> Iterable[tuple[str, Iterable[Row]]]:
    return groupby(report["measurements"], key=lambda row: str(row["sae"]))


def _failures(report: Report) -> str:
    lines = "".join(f"<li>{escape(line)}</li>" for line in failures(report))
    return f'<ul class="bad">{lines}</ul>' if lines else ""


def _sae(sae: str, rows: Sequence[Row]) -> str:
    header = "".join(
        f"<th>{name}</th>" for name in ("metric", "value ± se", "", "bound", "verdict")
    )
    lines = "\n".join(map(_line, rows))
    return (
        f"<h2>{escape(sae)}</h2>\n<table><thead><tr>{header}</tr></thead>\n<tbody>{lines}</tbody>"
        f"</table>\n{_curves(rows)}"
    )


def _line(row: Row) -> str:
    colour = "bad" if is_red_row(row) else "good" if row["verdict"] == "pass" else ""
    expected = " (xfail)" if row["outcome"] == "xfailed" else ""
    return (
        f'<tr title="{escape(row["reason"])}"><td><code>{escape(key_of(row))}</code></td>'
        f'<td class="number">{escape(shown_value(row))}</td><td>{_bar(row)}</td>'
        f'<td title="{escape(source_of(row))}">{escape(shown_bound(row))}</td>'
        f'<td class="{colour}">{escape(row["verdict"] + expected)}</td></tr>'
    )


def _bar(row: Row) -> str:
    """Return a bar to the value, with its interval and its bounds marked, on a scale of its own."""
    if row["value"] is None:
        return ""
    ends = [end for end in row["ci"] or [] if end is not None]
    limits = [
        row["rule"][end] for end in ("min", "max") if row["rule"] and row["rule"][end] is not None
    ]
    natural = [end for end in row["range"] if end is not None and abs(end) <= 1]
    marks = [0.0, row["value"], *ends, *limits, *natural]
    low, high = min(marks), max(marks)

    def x(value: float) -> str:
        return f"{2 + (value - low) / ((high - low) or 1.0) * (_BAR - 4):.1f}"

    left, right = sorted([0.0, row["value"]])
    interval = _rule("interval", x(min(ends)), x(max(ends)), 7, 7) if len(ends) == 2 else ""
    bounds = "".join(_rule("bound", x(limit), x(limit), 0, 14) for limit in limits)
    title = f"{number(low)} to {number(high)}"
    return (
        f'<svg width="{_BAR}" height="14" role="img"><title>{title}</title>'
        f'<rect class="track" x="0" y="6" width="{_BAR}" height="2"/>'
        f'<rect class="value" x="{x(left)}" y="4" height="6" opacity=".45" '
        f'width="{float(x(right)) - float(x(left)):.1f}"/>{interval}{bounds}</svg>'
    )


def _rule(kind: str, x1: str, x2: str, y1: int, y2: int) -> str:
    return f'<line class="{kind}" x1="{x1}" x2="{x2}" y1="{y1}" y2="{y2}"/>'


def _curves(rows: Sequence[Row]) -> str:
    """Return one chart per distinct curve: the settings of a metric share theirs."""
    drawn: dict[str, str] = {}
    for row in rows:
        curve = row["details"].get("curve")
        others = {name: value for name, value in row["params"].items() if name != "n"}
        title = f"{row['metric']} over n {' '.join(map(str, others.values()))}".strip()
        drawn.setdefault(json.dumps([title, curve], sort_keys=True), curve_svg(title, curve))
    return "".join(drawn.values())


def _about(report: Report) -> str:
    kept = (
        "started",
        "duration",
        "argv",
        "versions",
        "options",
        "thresholds",
        "saes",
        "environment",
    )
    told = {name: report[name] for name in (*kept, "models", "data", "work")}
    text = escape(json.dumps(told, indent=1, ensure_ascii=False))
    return (
        "<h2>How it was made</h2>\n<details><summary>Versions, options, data</summary>"
        f"<pre>{text}</pre></details>"
    )
