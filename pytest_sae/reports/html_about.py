"""How a report was made: versions, options, data, work and fingerprints, folded away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pytest_sae.numbers.plain import as_number
from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.reports.pages import rendered
from pytest_sae.reports.summary import update_lines

Pairs = Iterable[tuple[str, str]]
Stage = tuple[str, float, str]  # its name, its share of the longest, how long it took


def about(report: Report) -> Markup:
    """Return everything that somebody needs to make the report again, closed until opened."""
    parts: list[tuple[str, Pairs, list[Stage]]] = [
        ("Command", [("pytest", " ".join(report.argv))], []),
        ("Versions", _pairs(report.versions), []),
        ("Options", _pairs(report.options), []),
        ("Where", _pairs(report.environment), []),
        ("SAEs", ((each.id, each.text) for each in report.saes), []),
        ("Bounds", ((each.file, each.sha256) for each in report.thresholds), []),
        ("Baseline", ((line, "") for line in update_lines(report)), []),
        ("Models", _pairs(report.models), []),
        ("Data", _pairs(report.data), []),
        *(_work(str(worker), work) for worker, work in report.work.items()),
        ("Fingerprints", _fingerprints(report.measurements), []),
    ]
    told = [(title, list(pairs), stages) for title, pairs, stages in parts]
    return rendered("about.html", parts=told)


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


def _work(worker: str, work: object) -> tuple[str, Pairs, list[Stage]]:
    title = f"Work of {worker}"
    if not isinstance(work, Mapping):
        return title, [("", _text(work))], []
    counts = _pairs({name: value for name, value in work.items() if name != "seconds"})
    seconds = work.get("seconds")
    return title, counts, _stages(seconds) if isinstance(seconds, Mapping) else []


def _stages(seconds: Mapping[str, object]) -> list[Stage]:
    """Return each stage with its share of the longest, in percent, the longest first."""
    spent = {name: as_number(value) or 0.0 for name, value in seconds.items()}
    most = max(spent.values(), default=0.0) or 1.0
    ordered = sorted(spent.items(), key=lambda each: -each[1])
    return [(name, 100 * max(value, 0.0) / most, lasting(value)) for name, value in ordered]


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
