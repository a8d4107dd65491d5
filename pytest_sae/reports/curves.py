"""Curves over the number of ablated latents, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from pytest_sae.gate.verdict import as_number

_WIDTH, _HEIGHT, _MARGIN = 300, 130, 34


@dataclass(frozen=True)
class Point:
    """One point of a curve: n latents, the value there, and its interval where there is one."""

    n: float
    value: float
    low: float
    high: float


def points(curve: object) -> list[Point]:
    """Return the points of a curve, sorted by n; none if this is no curve.

    Args:
        curve: `[{"n": 5, "value": 0.2, "ci": [0.1, 0.3]}, ...]`, or the same keyed by n with
            `low` and `high`: `{"5": {"value": 0.2, "low": 0.1, "high": 0.3}, ...}`.
    """
    found = [_point(n, entry) for n, entry in _entries(curve) if isinstance(entry, Mapping)]
    return sorted((point for point in found if point), key=lambda point: point.n)


def _entries(curve: object) -> list[tuple[object, Any]]:
    if isinstance(curve, Mapping):
        return list(curve.items())
    if isinstance(curve, list):
        return [(entry.get("n"), entry) for entry in curve if isinstance(entry, Mapping)]
    return []


def _point(n: object, entry: Mapping[str, Any]) -> Point | None:
    at, value = _number(n), as_number(entry.get("value"))
    if at is None or value is None:
        return None
    ci = entry.get("ci")
    pair = ci if isinstance(ci, list) and len(ci) == 2 else (entry.get("low"), entry.get("high"))
    low, high = (as_number(end) for end in pair)
    return Point(at, value, value if low is None else low, value if high is None else high)


def _number(n: object) -> float | None:
    try:
        return as_number(float(n)) if isinstance(n, str) else as_number(n)
    except ValueError:
        return None


def curve_svg(title: str, curve: object) -> str:
    """Return a small chart of a curve with its band, n on a logarithmic axis; empty if no curve."""
    line = points(curve)
    if len(line) < 2:
        return ""
    low, high = min(0.0, *(p.low for p in line)), max(0.0, *(p.high for p in line))
    place = _Frame(math.log(max(line[0].n, 1)), math.log(max(line[-1].n, 2)), low, high or 1.0)
    upper = [place.at(p.n, p.high) for p in line]
    lower = [place.at(p.n, p.low) for p in reversed(line)]
    marks = "".join(_mark(place, p) for p in line)
    ticks = "".join(_tick(place, p.n) for p in line)
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'role="img" width="{_WIDTH}">{_axis(place, low, high)}'
        f'<polygon class="band" points="{" ".join(upper + lower)}"/>'
        f'<polyline class="line" points="{" ".join(place.at(p.n, p.value) for p in line)}"/>'
        f"{marks}{ticks}</svg></figure>"
    )


@dataclass(frozen=True)
class _Frame:
    left: float
    right: float
    low: float
    high: float

    def x(self, n: float) -> float:
        share = (math.log(max(n, 1)) - self.left) / ((self.right - self.left) or 1.0)
        return _MARGIN + share * (_WIDTH - 2 * _MARGIN)

    def y(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return _HEIGHT - 20 - share * (_HEIGHT - 34)

    def at(self, n: float, value: float) -> str:
        return f"{self.x(n):.1f},{self.y(value):.1f}"


def _mark(place: _Frame, point: Point) -> str:
    told = f"n={point.n:g}: {point.value:.4g} ({point.low:.4g} to {point.high:.4g})"
    x, y = place.at(point.n, point.value).split(",")
    return f'<circle class="mark" cx="{x}" cy="{y}" r="2.5"><title>{told}</title></circle>'


def _tick(place: _Frame, n: float) -> str:
    return f'<text x="{place.x(n):.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{n:g}</text>'


def _axis(place: _Frame, low: float, high: float) -> str:
    labels: Sequence[float] = sorted({low, 0.0, high})
    return "".join(
        f'<line class="axis" x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{place.y(at):.1f}" '
        f'y2="{place.y(at):.1f}"/><text x="{_MARGIN - 4}" y="{place.y(at) + 3:.1f}" '
        f'text-anchor="end">{at:.2g}</text>'
        for at in labels
    )
