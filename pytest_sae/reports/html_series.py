"""series.html: the values of several reports over their order, in the look of report.html."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from pytest_sae.families.registry import place_of
from pytest_sae.numbers.plain import number
from pytest_sae.records.row import Row
from pytest_sae.records.verdicts import difference
from pytest_sae.reports.curves import share
from pytest_sae.reports.html import script_hash
from pytest_sae.reports.html_bars import interval_of
from pytest_sae.reports.html_marks import colours_of
from pytest_sae.reports.html_quality import round_numbers
from pytest_sae.reports.html_table import kinds_of
from pytest_sae.reports.overview import deciding, short
from pytest_sae.reports.pages import rendered, titled
from pytest_sae.reports.series import Column, lines_of, unlike

#: How the file is called.
NAME = "series.html"

_MOST = 24  # charts; the table has all values
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 440, 220, 50, 14, 12, 26
_NEAR = 2.0  # how many times the range of the values a bound may lie beyond it and be shown
_LARGEST = sys.float_info.max
_LETTER, _LABEL = 8.8, 52.0  # width of a letter, and of the shortest label of a report


def series(columns: Sequence[Column]) -> str:
    """Return a page on several reports as one HTML file.

    Args:
        columns: at least one, in their order.
    """
    saes = colours_of(lines_of(columns))
    rows = [row for column in columns for row in column.rows.values()]
    keys, last = deciding(rows), columns[-1]
    page = rendered(
        "series.html",
        title=f"SAE gate {last.verdict}: {last.name} after {len(columns) - 1} more",
        columns=columns,
        last=last,
        saes=saes,
        unlike=unlike(columns),
        figures=[_figure(key, columns, saes) for key in keys[:_MOST]],
        more=max(0, len(keys) - _MOST),
        lines=_lines(columns, saes),
        changed=_changed,
        short=short,
        script_hash=script_hash(),
        contents=[("top", "Verdict"), ("verdicts", "SAEs"), ("over", "Over the reports"),
                  ("measurements", "Measurements")],
    )  # fmt: skip
    return str(page)


def _lines(
    columns: Sequence[Column], saes: Mapping[str, str]
) -> list[tuple[Row, str, list[Row | None], str]]:
    """Each value over the reports: what it is, whose, in which report, and how it is filtered."""
    places = dict.fromkeys(place for column in columns for place in column.rows)
    found = [(place, [column.rows.get(place) for column in columns]) for place in places]
    told = [(next(filter(None, own[::-1])), place[0], own, _kinds(own)) for place, own in found]
    order = {name: at for at, name in enumerate(saes)}
    return sorted(told, key=lambda each: (place_of(each[0].metric), each[0].key, order[each[1]]))


def _kinds(rows: Iterable[Row | None]) -> str:
    return " ".join(dict.fromkeys(kind for row in rows if row for kind in kinds_of(row).split()))


def _changed(rows: Sequence[Row | None]) -> str:
    """By how much the last value differs from the first that there is."""
    values = [row.value for row in rows if row and row.value is not None]
    last = rows[-1].value if rows[-1] else None
    return difference(last, values[0]) if last is not None and len(values) > 1 else ""


def _figure(key: str, columns: Sequence[Column], saes: Mapping[str, str]) -> tuple[Row, Markup]:
    own = {name: [column.rows.get((name, key)) for column in columns] for name in saes}
    rows = [row for each in own.values() for row in each if row and row.value is not None]
    axes = _axes(rows, [column.name for column in columns])
    drawn = [
        axes.level(),
        axes.along(),
        *(_bounds(axes, at, row) for each in own.values() for at, row in enumerate(each) if row),
        _far(axes, rows),
        *(_line(axes, name, each, saes[name]) for name, each in own.items()),
    ]
    name = f"{key} over {len(columns)} reports, of {', '.join(saes)}"
    return rows[0], Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(name)}">'
        f"{''.join(drawn)}</svg>"
    )


@dataclass(frozen=True)
class _Axes:
    """Reports to the right, in their order; values up."""

    names: Sequence[str]
    low: float
    high: float

    @property
    def room(self) -> float:
        return (_WIDTH - _LEFT - _RIGHT) / len(self.names)

    def x(self, at: int) -> float:
        return _LEFT + (at + 0.5) * self.room

    def y(self, value: float) -> float:
        up = min(1.0, max(0.0, share(value, self.low, self.high)))
        return _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    def level(self) -> str:
        return "".join(
            f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{value:.4g}</text>'
            for value in round_numbers(self.low, self.high)
            for y in (self.y(value),)
        )

    def along(self) -> str:
        step = math.ceil(_LABEL / self.room)
        most = max(3, int(self.room * step / _LETTER))
        # The last is what it is about.
        shown = range((len(self.names) - 1) % step, len(self.names), step)
        return "".join(
            f'<text x="{self.x(at):.1f}" y="{_HEIGHT - 8}" text-anchor="middle">'
            f"{escape(_shortened(self.names[at], most))}</text>"
            for at in shown
        )


def _shortened(name: str, most: int) -> str:
    # Checkpoints of one run begin alike, and end in what tells them apart.
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _axes(rows: Sequence[Row], names: Sequence[str]) -> _Axes:
    values = [end for row in rows for end in (row.value or 0.0, *interval_of(row))]
    low, high = min(values), max(values)
    spread = _apart(low, high) or abs(high) * 0.05 or 1.0
    near = [
        limit for limit in _limits(rows) if low - _NEAR * spread < limit < high + _NEAR * spread
    ]
    low, high = min([low, *near]), max([high, *near])
    pad = 0.06 * (_apart(low, high) or spread)
    return _Axes(names, max(low - pad, -_LARGEST), min(high + pad, _LARGEST))


def _apart(low: float, high: float) -> float:
    # The distance of two finite numbers can be infinite.
    return min(high - low, _LARGEST)


def _limits(rows: Iterable[Row]) -> list[float]:
    return [limit for row in rows for limit in row.limits if limit is not None]


def _bounds(axes: _Axes, at: int, row: Row) -> str:
    half = axes.room / 2
    return "".join(
        f'<line class="bound" x1="{axes.x(at) - half:.1f}" x2="{axes.x(at) + half:.1f}" '
        f'y1="{axes.y(limit):.1f}" y2="{axes.y(limit):.1f}">'
        f"{titled(f'bound of {row.sae}, at={_word(axes.names[at])}: {number(limit)}')}</line>"
        for limit in row.limits
        if limit is not None and axes.low <= limit <= axes.high
    )


def _far(axes: _Axes, rows: Iterable[Row]) -> str:
    """Bounds that lie far from all values, at the edge."""
    limits = sorted(set(_limits(rows)))
    below = [limit for limit in limits if limit < axes.low]
    above = [limit for limit in limits if limit > axes.high]
    ends = [(f"bound {short(each)} ↓", _HEIGHT - _BOTTOM - 4) for each in below[-1:]]
    ends += [(f"bound {short(each)} ↑", _TOP + 4) for each in above[:1]]
    return "".join(
        f'<text x="{_WIDTH - _RIGHT}" y="{y}" text-anchor="end">{told}</text>' for told, y in ends
    )


def _line(axes: _Axes, name: str, rows: Sequence[Row | None], colour: str) -> str:
    there = [(at, row) for at, row in enumerate(rows) if row and row.value is not None]
    points = " ".join(f"{axes.x(at):.1f},{axes.y(row.value or 0.0):.1f}" for at, row in there)
    marks = "".join(_mark(axes, at, row) for at, row in there)
    return f'<g class="{colour}"><polyline class="line" points="{points}"/>{marks}</g>'


def _mark(axes: _Axes, at: int, row: Row) -> str:
    x, ends, value = axes.x(at), interval_of(row), row.value or 0.0
    within = f" ({' to '.join(map(number, ends))})" if ends else ""
    told = f"{row.sae}, at={_word(axes.names[at])}: {number(value)}{within}"
    whisker = (
        f'<line class="interval" x1="{x:.1f}" x2="{x:.1f}" y1="{axes.y(ends[0]):.1f}" '
        f'y2="{axes.y(ends[1]):.1f}"/>'
        if ends
        else ""
    )
    kind = "mark open" if row.red else "mark"
    return (
        f'{whisker}<circle class="{kind}" cx="{x:.1f}" cy="{axes.y(value):.1f}" r="4">'
        f"{titled(told)}</circle>"
    )


def _word(name: str) -> str:
    """A name without spaces: the page's script takes charts' data from what they say."""
    return "_".join(name.split()) or "_"
