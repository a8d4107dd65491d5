"""Bars that compare one metric across SAEs: value, interval and bounds on a common scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pytest_sae.numbers.plain import number
from pytest_sae.records.row import JudgedControl, Row
from pytest_sae.reports.pages import titled

_HEIGHT = 14
_SEEN = 0.005  # a smaller share of the scale is under a pixel


@dataclass(frozen=True)
class Scale:
    """The common scale of a row of the table, from low to high."""

    low: float
    high: float

    def share(self, value: float) -> float:
        """Return where a value lies between the ends, 0 to 1."""
        # Halved first: the distance of two finite numbers can be infinite.
        return (value / 2 - self.low / 2) / ((self.high / 2 - self.low / 2) or 1.0)

    def x(self, value: float) -> float:
        """Return where a value lies in percent of the width, off the very edges."""
        return 1 + 98 * self.share(value)


def scale_of(rows: Sequence[Row]) -> Scale | None:
    """Return the scale that the rows of one metric share; None where bars would say nothing.

    They say something against a largest possible value, a bound, or other values.
    """
    measured = [row for row in rows if row.value is not None]
    values = [row.value for row in measured if row.value is not None]
    limits = [limit for row in measured for limit in limits_of(row)]
    ranges = [end for row in measured for end in row.range if end is not None]
    ends = [end for row in measured for end in interval_of(row)]
    marks = [0.0, *values, *limits, *ranges, *ends, *baselines_of(measured)]
    scale = Scale(min(marks), max(marks))
    bounded = limits or baselines_of(measured) or any(row.range[1] is not None for row in measured)
    return scale if bounded or _differ(values, scale) else None


def _differ(values: Sequence[float], scale: Scale) -> bool:
    return bool(values) and scale.share(max(values)) - scale.share(min(values)) > _SEEN


def limits_of(row: Row) -> list[float]:
    """Return the bounds of a row that are given."""
    return [end for end in row.limits if end is not None]


def baselines_of(rows: Sequence[Row]) -> list[float]:
    """Return the values that rows were compared with, those that were comparable."""
    told = [row.baseline for row in rows if row.baseline]
    return [each.value for each in told if each.value is not None and not each.differs]


def interval_of(row: Row) -> list[float]:
    """Return both ends of the interval of a row, none if it has no finite one."""
    ends = sorted(end for end in row.ci or [] if end is not None)
    return ends if len(ends) == 2 else []


def bar(row: Row, scale: Scale, colour: str) -> Markup:
    """Return the bar from zero to the value, with its interval and its bounds.

    Empty where there is no value.

    Args:
        row: whose value it is; its baseline and its controls are marked too.
        scale: that of its row of the table.
        colour: CSS class of the SAE.
    """
    if row.value is None:
        return Markup()
    within = " to ".join(map(number, interval_of(row)))
    title = f"interval {within or '-'}; scale {number(scale.low)} to {number(scale.high)}"
    zero, value = scale.x(0.0), scale.x(row.value)
    return Markup(
        f'<svg class="bar {colour}" height="{_HEIGHT}" role="img">{titled(title)}'
        f"{_rect('track', 0, 100, 2)}{_forbidden(row, scale)}{_rect('value', zero, value, 8)}"
        f"{_whiskers(row, scale)}{_upright('end', value, 8)}{_upright('zero', zero, 12)}"
        f"{''.join(_upright('bound', scale.x(limit), _HEIGHT) for limit in limits_of(row))}"
        f"{''.join(_baseline(scale.x(before)) for before in baselines_of([row]))}"
        f"{''.join(_control(each, scale) for each in row.controls)}</svg>"
    )


def _forbidden(row: Row, scale: Scale) -> str:
    low, high = row.limits
    below = "" if low is None else _rect("outside", 0, scale.x(low), _HEIGHT)
    above = "" if high is None else _rect("outside", scale.x(high), 100, _HEIGHT)
    return below + above


def _whiskers(row: Row, scale: Scale) -> str:
    ends = [scale.x(end) for end in interval_of(row)]
    if not ends:
        return ""
    y, caps = f"{_HEIGHT / 2:g}", "".join(_upright("interval", end, 6) for end in ends)
    return (
        f'<line class="interval" x1="{ends[0]:.1f}%" x2="{ends[1]:.1f}%" y1="{y}" y2="{y}"/>{caps}'
    )


def _baseline(at: float) -> str:
    # Below the bar and upright, so that it hides neither value nor bound.
    return (
        f'<line class="before" x1="{at:.1f}%" x2="{at:.1f}%" '
        f'y1="{_HEIGHT / 2 + 1}" y2="{_HEIGHT + 2}"/>'
    )


def _control(control: JudgedControl, scale: Scale) -> str:
    """A tick above the bar; at the edge, where the control lies beyond the scale."""
    if control.value is None:
        return ""
    at = min(100.0, max(0.0, scale.x(control.value)))
    kind = "control missed" if control.holds is False else "control"
    return f'<line class="{kind}" x1="{at:.1f}%" x2="{at:.1f}%" y1="-2" y2="{_HEIGHT / 2 - 1:g}"/>'


def _rect(kind: str, one: float, other: float, height: int) -> str:
    left, right = sorted([one, other])
    return (
        f'<rect class="{kind}" x="{left:.1f}%" width="{right - left:.1f}%" '
        f'y="{(_HEIGHT - height) / 2:g}" height="{height}"/>'
    )


def _upright(kind: str, at: float, height: int) -> str:
    top = (_HEIGHT - height) / 2
    ends = f'y1="{top:g}" y2="{top + height:g}"'
    return f'<line class="{kind}" x1="{at:.1f}%" x2="{at:.1f}%" {ends}/>'
