"""Quality against sparsity: where each SAE lies, beside controls and a baseline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from pytest_sae.numbers.plain import number
from pytest_sae.records.row import Row
from pytest_sae.reports.html_bars import interval_of
from pytest_sae.reports.overview import deciding, short
from pytest_sae.reports.pages import rendered, titled

_MOST = 3  # charts, as many as stand beside each other
_LABELLED = 16  # SAEs that have room for a label each
_REFERENCES = ("pca", "random")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 440, 264, 46, 124, 12, 36
_ROOM = 3.0  # how many times the way from the best to the bound is shown
_NARROW = 1.6  # a ratio of the ends of the L0 axis below which they are set apart


@dataclass(frozen=True)
class Place:
    """A point of the chart.

    Args:
        name: of the SAE, or of the reference.
        l0: mean number of active latents.
        value: of the metric.
        ends: of its interval, empty where it has none.
        limit: what the value is held to, None for nothing.
        red: whether the value fails the run.
    """

    name: str
    l0: float
    value: float
    ends: tuple[float, ...] = ()
    limit: float | None = None
    red: bool = False

    @property
    def told(self) -> str:
        """What it says where it is pointed at."""
        within = f" ({' to '.join(map(number, self.ends))})" if self.ends else ""
        return f"{self.name}, L0={short(self.l0)}: {number(self.value)}{within}"


def quality(rows: Sequence[Row], saes: Mapping[str, str]) -> Markup:
    """Return a chart for each metric that decides; empty where no L0 was measured.

    Args:
        rows: the measurements.
        saes: the colour of each SAE.
    """
    l0 = {row.sae: row.value for row in rows if row.metric == "l0" and row.value is not None}
    of = ([row for row in rows if row.key == key and row.sae in l0] for key in deciding(rows))
    told = [[row for row in own if row.value is not None] for own in of]
    # First what is a quality by itself: of dead latents a worthless dictionary may have none.
    better = [own for own in told if own and own[0].direction == "higher"]
    more = [own for own in told if own and own[0].direction == "lower"]
    figures = [(own[0], _chart(own, l0, saes)) for own in [*better, *more][:_MOST]]
    return rendered("quality.html", figures=figures) if figures else Markup()


def _chart(rows: Sequence[Row], l0: Mapping[str, float], saes: Mapping[str, str]) -> Markup:
    places = [_place(row, l0[row.sae]) for row in rows]
    before = {row.sae: each for row in rows for each in _before(row, l0[row.sae])}
    beside = {name: _reference(name, rows, l0) for name in _REFERENCES}
    frame = _frame(places, [*before.values(), *beside["pca"]], rows[0].direction)
    drawn = [
        frame.axes(),
        *(_bound(frame, each) for each in places),
        *(_controls(frame, name, found) for name, found in beside.items()),
        *(_moved(frame, before[each.name], each, saes[each.name])
          for each in places if each.name in before),
        *(_mark(frame, each, saes[each.name]) for each in places),
        _labels(frame, places, saes) if len(places) <= _LABELLED else "",
    ]  # fmt: skip
    name = f"{rows[0].key} of {len(places)} SAEs against their L0"
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(name)}">'
        f"{''.join(drawn)}</svg>"
    )


def _place(row: Row, l0: float) -> Place:
    limit = next((end for end in row.limits if end is not None), None)
    return Place(row.sae, l0, row.value or 0.0, tuple(interval_of(row)), limit, row.red)


def _before(row: Row, l0: float) -> Iterable[Place]:
    told = row.baseline
    if told and told.value is not None and not told.differs:
        yield Place(f"{row.sae} in {told.source}", l0, told.value)


def _reference(name: str, rows: Sequence[Row], l0: Mapping[str, float]) -> list[Place]:
    found = [
        Place(f"{name} beside {row.sae}", l0[row.sae], each.value)
        for row in rows
        for each in row.controls
        if each.control == name and each.value is not None
    ]
    return sorted(found, key=lambda place: place.l0)


@dataclass(frozen=True)
class _Frame:
    """The axes: L0 to the right, logarithmic; better is up."""

    left: float
    right: float
    worst: float
    best: float

    def x(self, l0: float) -> float:
        share = (_log(l0) - self.left) / ((self.right - self.left) or 1.0)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        # Halved first: the distance of two finite numbers can be infinite.
        share = (value / 2 - self.worst / 2) / ((self.best / 2 - self.worst / 2) or 1.0)
        share = min(1.0, max(0.0, share))
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def beyond(self, value: float) -> bool:
        """Whether a value is worse than what the chart shows."""
        return value < self.worst if self.best > self.worst else value > self.worst

    def axes(self) -> str:
        bottom, end = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        level = "".join(
            f'<line class="axis" x1="{_LEFT}" x2="{end}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{value:.3g}</text>'
            for value in round_numbers(min(self.worst, self.best), max(self.worst, self.best))
            for y in (self.y(value),)
        )
        along = "".join(
            f'<text x="{self.x(l0):.1f}" y="{bottom + 14}" text-anchor="middle">{l0:.3g}</text>'
            for l0 in round_numbers(10**self.left, 10**self.right, 3)
        )
        middle = (_LEFT + end) / 2
        return (
            f'{level}{along}<text x="{middle:.0f}" y="{_HEIGHT - 5}" text-anchor="middle">'
            "L0, latents per token</text>"
        )


def _frame(places: Sequence[Place], others: Sequence[Place], direction: str) -> _Frame:
    sign = -1.0 if direction == "lower" else 1.0
    told = [sign * each for one in (*places, *others) for each in (one.value, *one.ends)]
    limits = [sign * each.limit for each in places if each.limit is not None]
    best, worst = max([*told, *limits]), min([*told, *limits])
    if limits and best > min(limits):
        # What is worse by far would press together what is to be compared.
        worst = max(worst, best - _ROOM * (best - min(limits)))
    pad = 0.05 * (best / 2 - worst / 2) * 2 or abs(best) * 0.1 or 1.0
    l0s = [_log(each.l0) for each in (*places, *others)]
    left, right = min(l0s), max(l0s)
    apart = max(0.0, math.log10(_NARROW) - (right - left)) / 2 + 0.03
    return _Frame(left - apart, right + apart, sign * (worst - pad), sign * (best + pad))


def _log(l0: float) -> float:
    return math.log10(max(l0, 1e-3))


def round_numbers(low: float, high: float, most: int = 5) -> list[float]:
    """Return some round numbers between two ends.

    Args:
        low: the lower end.
        high: the upper end.
        most: about how many.
    """
    rough = (high / most - low / most) or 1.0
    if not 0 < rough < math.inf:
        return [low, high]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough * 0.999)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [at * step for at in range(first, last + 1)]


def _mark(frame: _Frame, place: Place, colour: str) -> str:
    x, y = frame.x(place.l0), frame.y(place.value)
    title = titled(place.told)
    if frame.beyond(place.value):
        return (
            f'<g class="{colour}"><path class="mark" d="M{x - 6:.1f} {y - 9:.1f}h12l-6 9z">'
            f"{title}</path></g>"
        )
    ends = [frame.y(end) for end in place.ends]
    whisker = (
        f'<line class="interval" x1="{x:.1f}" x2="{x:.1f}" y1="{ends[0]:.1f}" y2="{ends[1]:.1f}"/>'
        if ends
        else ""
    )
    kind = "mark open" if place.red else "mark"
    return (
        f'<g class="{colour}">{whisker}<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5">'
        f"{title}</circle></g>"
    )


def _bound(frame: _Frame, place: Place) -> str:
    if place.limit is None:
        return ""
    x, y = frame.x(place.l0), frame.y(place.limit)
    return (
        f'<line class="bound" x1="{x - 9:.1f}" x2="{x + 9:.1f}" y1="{y:.1f}" y2="{y:.1f}">'
        f"{titled(f'bound of {place.name}, L0={short(place.l0)}: {number(place.limit)}')}</line>"
    )


def _controls(frame: _Frame, name: str, found: Sequence[Place]) -> str:
    shown = [each for each in found if not frame.beyond(each.value)]
    if not shown:
        return "".join(_far(frame, name, each) for each in found[:1])
    path = " ".join(f"{frame.x(each.l0):.1f},{frame.y(each.value):.1f}" for each in shown)
    marks = "".join(
        f'<rect class="beside" x="{frame.x(each.l0) - 3:.1f}" y="{frame.y(each.value) - 3:.1f}" '
        f'width="6" height="6">{titled(each.told)}</rect>'
        for each in shown
    )
    x, y = path.split(" ")[0].split(",")
    return (
        f'<polyline class="headline" points="{path}"/>{marks}'
        f'<text x="{float(x) - 6:.1f}" y="{float(y) + 3.5:.1f}" text-anchor="end">{name}</text>'
    )


def _far(frame: _Frame, name: str, place: Place) -> str:
    """A reference that is worse than anything that is shown."""
    x, y = frame.x(place.l0) - 12, _HEIGHT - _BOTTOM - 4
    told = f"{name} {short(place.value)} ↓"
    return f'<text x="{x:.1f}" y="{y}" text-anchor="end">{told}{titled(place.told)}</text>'


def _moved(frame: _Frame, before: Place, now: Place, colour: str) -> str:
    x, was, y = frame.x(now.l0), frame.y(before.value), frame.y(now.value)
    return (
        f'<g class="{colour}"><line class="floor" x1="{x:.1f}" x2="{x:.1f}" y1="{was:.1f}" '
        f'y2="{y:.1f}"/><circle class="mark open" cx="{x:.1f}" cy="{was:.1f}" r="3">'
        f"{titled(before.told)}</circle></g>"
    )


def _labels(frame: _Frame, places: Sequence[Place], saes: Mapping[str, str]) -> str:
    """Names in a column at the right, as near to their points as they fit, with a line to them."""
    ordered = sorted(places, key=lambda place: frame.y(place.value))
    room = (_HEIGHT - _BOTTOM - _TOP) / max(len(ordered), 1)
    step, at, ys = min(14.0, room), float(_TOP), []
    for place in ordered:
        at = max(at, frame.y(place.value))
        ys.append(at)
        at += step
    # Those that were pushed below the chart push the others up.
    last = float(_HEIGHT - _BOTTOM)
    for index in range(len(ys) - 1, -1, -1):
        ys[index] = last = min(ys[index], last)
        last -= step
    return "".join(
        _label(frame, place, y, saes[place.name]) for place, y in zip(ordered, ys, strict=True)
    )


def _label(frame: _Frame, place: Place, y: float, colour: str) -> str:
    x, edge = frame.x(place.l0), _WIDTH - _RIGHT
    far = f" {short(place.value)} ↓" if frame.beyond(place.value) else ""
    name = place.name if len(place.name) <= 15 else f"{place.name[:5]}…{place.name[-9:]}"
    return (
        f'<g class="{colour}"><line class="leader" x1="{x + 6:.1f}" x2="{edge + 3}" '
        f'y1="{frame.y(place.value):.1f}" y2="{y:.1f}"/></g>'
        f'<text class="name" x="{edge + 6}" y="{y + 3.5:.1f}">{escape(name)}{far}</text>'
    )
