"""Curves over the number of ablated latents, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from markupsafe import Markup, escape

from pytest_sae.numbers.plain import as_number
from pytest_sae.reports.pages import titled

WIDTH, LEFT, _TOP = 360, 42, 10
_HEIGHT = 190
_APART = 18  # labels of n nearer than this would overlap


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


@dataclass(frozen=True)
class Line:
    """The curve of one SAE, and the class that gives it a colour."""

    sae: str
    colour: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Reference:
    """A value that does not depend on n and that a curve is held against."""

    name: str
    colour: str
    value: float


def chart(
    lines: Sequence[Line],
    marked: Sequence[float],
    references: Sequence[Reference] = (),
    name: str = "curves",
) -> Markup:
    """Return one chart with the curves of all SAEs and their bands.

    Args:
        lines: at least one, of at least one point each.
        marked: the n that the headline numbers are taken at.
        references: drawn as level lines.
        name: what it shows, for those who do not see it.
    """
    shown = [point for line in lines for point in line.points]
    frame = _frame(shown, [each.value for each in references])
    ns = sorted({point.n for line in lines for point in line.points})
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {_HEIGHT}" role="img" aria-label="{escape(name)}">'
        f"{frame.across()}{''.join(_headline(frame, n) for n in marked if n in ns)}"
        f"{_labels(frame, ns, marked)}{''.join(_band(frame, line) for line in lines)}"
        f"{''.join(_level_line(frame, each) for each in references)}"
        f"{''.join(_curve(frame, line) for line in lines)}</svg>"
    )


@dataclass(frozen=True)
class Frame:
    """What a chart's axes go over, and how large it is drawn.

    Args:
        left: end of the level axis.
        right: the other end.
        low: end of the upright axis.
        high: the other end.
    """

    left: float
    right: float
    low: float
    high: float

    HEIGHT: ClassVar[int]
    BOTTOM: ClassVar[int]
    RIGHT: ClassVar[int]

    def y(self, value: float) -> float:
        """Return where a value is on the upright axis."""
        room = self.HEIGHT - _TOP - self.BOTTOM
        return self.HEIGHT - self.BOTTOM - share(value, self.low, self.high) * room

    def across(self) -> str:
        """Return level lines at round values."""
        return "".join(
            f'<line class="{"zero" if level == 0 else "axis"}" x1="{LEFT}" '
            f'x2="{WIDTH - self.RIGHT}" y1="{self.y(level):.1f}" y2="{self.y(level):.1f}"/>'
            f'<text x="{LEFT - 5}" y="{self.y(level) + 3.5:.1f}" text-anchor="end">'
            f"{level:.3g}</text>"
            for level in levels(self.low, self.high)
        )


def share(value: float, low: float, high: float) -> float:
    """Return where a value is between two ends, 0 to 1.

    Args:
        value: a finite number.
        low: the end at 0.
        high: the end at 1.
    """
    # Halved first: the distance of two finite numbers can be infinite.
    return (value / 2 - low / 2) / ((high / 2 - low / 2) or 1.0)


class _Frame(Frame):
    HEIGHT, BOTTOM, RIGHT = _HEIGHT, 24, 12

    def x(self, n: float) -> float:
        part = (_log(n) - self.left) / ((self.right - self.left) or 1.0)
        return LEFT + part * (WIDTH - LEFT - self.RIGHT)

    def at(self, n: float, value: float) -> str:
        return f"{self.x(n):.1f},{self.y(value):.1f}"


def _log(n: float) -> float:
    return math.log(max(n, 1.0))


def _frame(shown: Sequence[Point], also: Sequence[float]) -> _Frame:
    low = min(0.0, *(p.low for p in shown), *also)
    high = max(0.0, *(p.high for p in shown), *also)
    logs = [_log(p.n) for p in shown]
    return _Frame(min(logs), max(logs), low, high)


def _band(frame: _Frame, line: Line) -> str:
    upper = [frame.at(p.n, p.high) for p in line.points]
    lower = [frame.at(p.n, p.low) for p in reversed(line.points)]
    return (
        f'<g class="{line.colour}"><polygon class="band" points="{" ".join(upper + lower)}"/></g>'
    )


def _curve(frame: _Frame, line: Line) -> str:
    path = " ".join(frame.at(p.n, p.value) for p in line.points)
    marks = "".join(_mark(frame, line.sae, p) for p in line.points)
    return f'<g class="{line.colour}"><polyline class="line" points="{path}"/>{marks}</g>'


def _mark(frame: _Frame, sae: str, point: Point) -> str:
    told = f"{sae}, n={point.n:g}: {point.value:.4g} ({point.low:.4g} to {point.high:.4g})"
    return dot(frame.at(point.n, point.value), told)


def dot(at: str, told: str) -> str:
    """Return a point of a chart.

    Args:
        at: `x,y`.
        told: what it says where it is pointed at.
    """
    x, y = at.split(",")
    return f'<circle class="mark" cx="{x}" cy="{y}" r="2.8">{titled(told)}</circle>'


def _level_line(frame: _Frame, each: Reference) -> str:
    y = f"{frame.y(each.value):.1f}"
    return (
        f'<g class="{each.colour}"><line class="floor" x1="{LEFT}" x2="{WIDTH - frame.RIGHT}" '
        f'y1="{y}" y2="{y}">{titled(f"{each.name}: {each.value:.4g}")}</line></g>'
    )


def _headline(frame: _Frame, n: float) -> str:
    x = f"{frame.x(n):.1f}"
    return f'<line class="headline" x1="{x}" x2="{x}" y1="{_TOP}" y2="{_HEIGHT - frame.BOTTOM}"/>'


def _labels(frame: _Frame, ns: Sequence[float], marked: Sequence[float]) -> str:
    kept: list[float] = []
    for n in sorted(ns, key=lambda n: (n not in marked, n)):
        if all(abs(frame.x(n) - frame.x(other)) >= _APART for other in kept):
            kept.append(n)
    return "".join(_label(frame, n, n in marked) for n in sorted(kept))


def _label(frame: _Frame, n: float, marked: bool) -> str:
    kind = ' class="strong"' if marked else ""
    text = f"n={n:g}" if marked else f"{n:g}"
    return f'<text{kind} x="{frame.x(n):.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{text}</text>'


def levels(low: float, high: float) -> list[float]:
    """Return round numbers between the ends, zero among them.

    Args:
        low: zero or less.
        high: zero or more.
    """
    rough = high / 4 - low / 4
    step = next((each for each in _steps(rough) if each >= rough), 0.0)
    if not 0 < step < math.inf:
        return sorted({low, 0.0, high})
    return [at * step for at in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _steps(rough: float) -> list[float]:
    if rough < 1e-300:
        return []
    power = 10.0 ** math.floor(math.log10(rough))
    return [power * digit for digit in (1, 2, 5, 10)]
