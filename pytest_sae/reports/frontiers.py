"""Erasure frontiers as inline SVG: collateral damage over removal, and what bounds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from pytest_sae.numbers.plain import as_number
from pytest_sae.reports.curves import LEFT, WIDTH, Frame, dot, levels, share
from pytest_sae.reports.pages import titled

_HEIGHT, _RIGHT, _BOTTOM = 230, 16, 36
#: Name in the report, what the chart calls it, corners of its mark around its place.
_MARKS = {
    "leace": ("LEACE", "0,-5 5,0 0,5 -5,0"),
    "mean_difference": ("mean difference", "-4,-4 4,-4 4,4 -4,4"),
    "words": ("words deleted", "0,-5 5,4 -5,4"),
}
_OURS, _RANDOM = "sae", "random"


@dataclass(frozen=True)
class FrontierPoint:
    """One point: n latents (0 for an erasure without latents), removal and collateral damage."""

    n: float
    removal: float
    collateral: float


@dataclass(frozen=True)
class Lines:
    """What one SAE's frontier is drawn from.

    Args:
        sae: its id.
        colour: class that gives it a colour.
        curves: points by name: `sae`, `random`, and the erasures without latents.
    """

    sae: str
    colour: str
    curves: Mapping[str, tuple[FrontierPoint, ...]]


def read(frontier: object) -> dict[str, tuple[FrontierPoint, ...]]:
    """Return the curves of a frontier in a row's details; empty if it is none."""
    if not isinstance(frontier, Mapping):
        return {}
    found = {
        str(name): tuple(place for place in map(_place, points) if place)
        for name, points in frontier.items()
        if isinstance(points, list)
    }
    return found if found.get(_OURS) else {}


def _place(point: object) -> FrontierPoint | None:
    if not isinstance(point, Mapping):
        return None
    parts = [point.get("n"), *(_value(point.get(axis)) for axis in ("removal", "collateral"))]
    n, removal, collateral = (as_number(part) for part in parts)
    if n is None or removal is None or collateral is None:
        return None
    return FrontierPoint(n, removal, collateral)


def _value(point: object) -> object:
    return point.get("value") if isinstance(point, Mapping) else None


def frontier_chart(lines: Sequence[Lines], name: str = "erasure frontier") -> Markup:
    """Return one chart: each SAE's curve, random latents dashed, references as marks.

    Args:
        lines: at least one.
        name: what it shows, for those who do not see it.
    """
    frame = _frame([place for each in lines for curve in each.curves.values() for place in curve])
    drawn = "".join(_path(frame, each, name) for each in lines for name in (_RANDOM, _OURS))
    # No dictionary has a part in the references: those of the first SAE are everybody's.
    marks = "".join(_reference(frame, name, lines[0].curves.get(name, ())) for name in _MARKS)
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {_HEIGHT}" role="img" aria-label="{escape(name)}">'
        f"{_axes(frame)}{drawn}{marks}</svg>"
    )


class _Frame(Frame):
    HEIGHT, BOTTOM, RIGHT = _HEIGHT, _BOTTOM, _RIGHT

    def x(self, removal: float) -> float:
        return LEFT + share(removal, self.left, self.right) * (WIDTH - LEFT - _RIGHT)

    def at(self, place: FrontierPoint) -> str:
        return f"{self.x(place.removal):.1f},{self.y(place.collateral):.1f}"


def _frame(places: Sequence[FrontierPoint]) -> _Frame:
    return _Frame(
        min(0.0, *(place.removal for place in places)),
        max(1.0, *(place.removal for place in places)),
        min(0.0, *(place.collateral for place in places)),
        max(0.05, *(place.collateral for place in places)),
    )


def _path(frame: _Frame, lines: Lines, name: str) -> str:
    places = (FrontierPoint(0, 0.0, 0.0), *lines.curves.get(name, ()))
    path = " ".join(frame.at(place) for place in places)
    if name == _RANDOM:
        told = titled(f"{lines.sae}, random latents of the same total effect")
        return (
            f'<g class="{lines.colour}"><polyline class="floor" points="{path}">'
            f"{told}</polyline></g>"
        )
    marks = "".join(_dot(frame, lines.sae, place) for place in places[1:])
    return f'<g class="{lines.colour}"><polyline class="line" points="{path}"/>{marks}</g>'


def _dot(frame: _Frame, sae: str, place: FrontierPoint) -> str:
    told = f"{sae}, n={place.n:g}: {place.removal:.3g} removed, {place.collateral:.3g} lost"
    return dot(frame.at(place), told)


def _reference(frame: _Frame, name: str, places: Sequence[FrontierPoint]) -> str:
    title, corners = _MARKS[name]
    return "".join(
        f'<polygon class="reference" transform="translate({frame.at(place)})" points="{corners}">'
        f"<title>{title}: {place.removal:.3g} removed, {place.collateral:.3g} lost</title>"
        "</polygon>"
        for place in places
    )


def _axes(frame: _Frame) -> str:
    bottom = _HEIGHT - _BOTTOM
    along = "".join(
        f'<text x="{frame.x(level):.1f}" y="{bottom + 14}" text-anchor="middle">{level:.3g}</text>'
        for level in levels(frame.left, frame.right)
    )
    return (
        f"{frame.across()}{along}{_toss(frame)}"
        f'<text x="{(LEFT + WIDTH - _RIGHT) / 2:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">'
        "share of the concept removed</text>"
    )


def _toss(frame: _Frame) -> str:
    """The diagonal as far as it is in the picture: all or nothing by the toss of a coin."""
    far = min(frame.right, frame.high)
    x, y = frame.at(FrontierPoint(0, far, far)).split(",")
    return (
        f'<line class="headline" x1="{frame.x(0):.1f}" y1="{frame.y(0):.1f}" x2="{x}" y2="{y}">'
        "<title>all or nothing by the toss of a coin</title></line>"
    )
