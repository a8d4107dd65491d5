"""How a report was made: versions, options, data, work and fingerprints, folded away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from pytest_sae.numbers.plain import as_number
from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.reports.summary import update_lines

Pairs = Iterable[tuple[str, str]]


def about(report: Report) -> str:
    """Return everything that somebody needs to make the report again, closed until opened."""
    parts = [
        _part("Command", [("pytest", " ".join(report.argv))]),
        _part("Versions", _pairs(report.versions)),
        _part("Options", _pairs(report.options)),
        _part("Where", _pairs(report.environment)),
        _part("SAEs", ((each.id, each.text) for each in report.saes)),
        _part("Bounds", ((each.file, each.sha256) for each in report.thresholds)),
        _part("Baseline", ((line, "") for line in update_lines(report))),
        _part("Models", _pairs(report.models)),
        _part("Data", _pairs(report.data)),
        *(_work(str(worker), work) for worker, work in report.work.items()),
        _part("Fingerprints", _fingerprints(report.measurements)),
    ]
    return (
        "<details><summary>How it was made</summary>"
        f'<div class="parts">{"".join(parts)}</div></details>'
    )


def _part(title: str, pairs: Pairs, more: str = "") -> str:
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>'
        for name, text in pairs
    )
    table = f"<table>{lines}</table>" if lines else ""
    return f"<section><h3>{escape(title)}</h3>{table}{more}</section>" if table or more else ""


def _pairs(told: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    for name, value in told.items():
        if isinstance(value, Mapping) and any(isinstance(v, Mapping) for v in value.values()):
            yield from _pairs(value, f"{within}{name} / ")
        else:
            yield f"{within}{name}", _text(value)


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "-" if value is None else str(value)


def _work(worker: str, work: object) -> str:
    if not isinstance(work, Mapping):
        return _part(f"Work of {worker}", [("", _text(work))])
    seconds = work.get("seconds")
    stages = _stages(seconds) if isinstance(seconds, Mapping) else ""
    counts = _pairs({name: value for name, value in work.items() if name != "seconds"})
    return _part(f"Work of {worker}", counts, stages)


def _stages(seconds: Mapping[str, object]) -> str:
    spent = {name: as_number(value) or 0.0 for name, value in seconds.items()}
    most = max(spent.values(), default=0.0) or 1.0
    ordered = sorted(spent.items(), key=lambda each: -each[1])
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td><svg class="stage" height="10"><rect '
        f'width="{100 * max(value, 0.0) / most:.1f}%" height="10" rx="2"/></svg></td>'
        f'<td class="number">{lasting(value)}</td></tr>'
        for name, value in ordered
    )
    return f'<table class="stages">{lines}</table>' if lines else ""


def _fingerprints(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Tell each fingerprint once: those that all SAEs share without naming them."""
    saes: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for kind, mark in row.fingerprints.items():
            saes.setdefault((kind, mark), []).append(row.sae)
    everyone = {row.sae for row in rows}
    for (kind, mark), named in sorted(saes.items()):
        whose = "" if set(named) == everyone else f" of {', '.join(dict.fromkeys(named))}"
        yield f"{kind}{whose}", mark


def lasting(seconds: float) -> str:
    """Return a duration for people: `0.2 s`, `1 min 40 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
