"""Bounds as statements about an interval: kept, missed, or too near to tell.

bounded_by(estimate, value, rule, controls, direction) -> Verdict
interval(estimate, value) -> both ends, as bounds are held to them
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_sae.numbers.plain import INTERVAL, as_number, number
from pytest_sae.records.relative import Absent, Margin
from pytest_sae.records.verdicts import Verdict, bounds

if TYPE_CHECKING:
    from pytest_sae.gate.rules import Rule
    from pytest_sae.numbers.control import Control
    from pytest_sae.numbers.estimate import Estimate
    from pytest_sae.numbers.metric_spec import Direction

_INSTEAD = "give this SAE a min or a max in place of the bound, in an [[override]]"
_MOST = 100.0  # times as many texts: beyond that, nobody would measure them


@dataclass(frozen=True)
class _Held:
    """A value beside one bound.

    Args:
        key: of the rule.
        margin: how far it is on the right side.
        kept: how a value is told that keeps it.
        missed: how one is told that does not.
    """

    key: str
    margin: Margin
    kept: str
    missed: str


def bounded_by(
    estimate: Estimate, value: float, rule: Rule, controls: Sequence[Control], direction: Direction
) -> Verdict:
    """Judge a value by the bounds of its rule.

    Args:
        estimate: with its standard error, its interval and what it rests on.
        value: of it, finite.
        rule: in force.
        controls: the same metric of what is worse, or better, by make.
        direction: which way of the metric is better.

    Returns:
        `fail` where the whole interval is on the wrong side of a bound, `undecided` where it spans
        one and the rule does not let that pass, `unmeasured` where it is not precise enough or what
        it has to be held to is missing, else `pass`.
    """
    held = list(_absolute(estimate, value, rule))
    relative = _relative(estimate, value, rule, controls, direction)
    if isinstance(relative, Absent) and not (relative.declared and held):
        instead = f"; {_INSTEAD}" if relative.declared else ""
        return Verdict("unmeasured", f"nothing to hold it to: {relative.why}{instead}", "bound")
    held += [relative] if isinstance(relative, _Held) else []
    failed = next((each for each in held if each.margin.high < 0), None)
    if failed:
        return Verdict("fail", _side(value, failed.missed, failed), failed.key)
    imprecise = _imprecise(value, as_number(estimate.se), rule)
    if imprecise:
        return Verdict("unmeasured", imprecise, "max_se")
    near = next((each for each in held if each.margin.low < 0), None)
    if near:
        return _undecided(estimate, value, rule, near)
    return Verdict("pass", _within(value, rule, held))


def _absolute(estimate: Estimate, value: float, rule: Rule) -> Iterator[_Held]:
    low, high = interval(estimate, value)
    if rule.min is not None:
        told = f"min {apart(value, rule.min)[1]}"
        margin = Margin(rule.min, told, low - rule.min, high - rule.min)
        yield _Held("min", margin, ">=", "<")
    if rule.max is not None:
        told = f"max {apart(value, rule.max)[1]}"
        margin = Margin(rule.max, told, rule.max - high, rule.max - low)
        yield _Held("max", margin, "<=", ">")


def interval(estimate: Estimate, value: float) -> tuple[float, float]:
    """Return the 95 % interval; the value alone, where nothing says how far it may be off.

    Args:
        estimate: with its interval, or its standard error.
        value: of it, finite.
    """
    ends = [as_number(end) for end in estimate.ci or ()]
    low, high = ends if len(ends) == 2 else (None, None)
    if low is not None and high is not None:
        return min(low, value), max(high, value)
    half = INTERVAL * (as_number(estimate.se) or 0.0)
    return value - half, value + half


def _relative(
    estimate: Estimate, value: float, rule: Rule, controls: Sequence[Control], direction: Direction
) -> _Held | Absent | None:
    if rule.bound is None:
        return None
    found = rule.bound.margin(value, as_number(estimate.se), controls, direction)
    if isinstance(found, Absent):
        return found
    kept, missed = ("<=", ">") if direction == "lower" else (">=", "<")
    return _Held("bound", found, kept, missed)


def _side(value: float, how: str, held: _Held) -> str:
    shown, told = apart(value, held.margin.limit), held.margin.told
    absolute = held.key in ("min", "max")
    return f"{shown[0]} {how} {told}" if absolute else f"{shown[0]} {how} {shown[1]}, {told}"


def _undecided(estimate: Estimate, value: float, rule: Rule, near: _Held) -> Verdict:
    limit, width = near.margin.limit, (near.margin.high - near.margin.low) / 2
    on = near.kept if (value >= limit) == (near.kept == ">=") else near.missed
    told = _side(value, on, near)
    surely = f"{told}, but not surely: it may be off by {number(width)}"
    if rule.undecided == "pass":
        return Verdict("pass", f'{surely}; let pass by undecided = "pass"', "undecided")
    return Verdict("undecided", f"{surely}; {_remedy(estimate, near.margin)}", near.key)


def _remedy(estimate: Estimate, margin: Margin) -> str:
    if not margin.more < _MOST:
        return "it lies at the bound, where no number of texts will tell"
    texts = estimate.n.get("texts")
    count = f" ({math.ceil(texts * margin.more)} texts)" if texts else ""
    return f"about {margin.more:.2g} times as many texts or seeds would tell{count}"


def _imprecise(value: float, se: float | None, rule: Rule) -> str:
    most = [] if rule.max_se is None else [(rule.max_se, "")]
    if rule.max_rel_se is not None:
        share = f", {rule.max_rel_se:.0%} of the value"
        most.append((rule.max_rel_se * abs(value), share))
    for limit, told in most:
        if se is None or se < 0:
            return f"not precise enough: no standard error, max_se {number(limit)}"
        if not se <= limit:
            one, other = apart(se, limit)
            return f"not precise enough: standard error {one} > max_se {other}{told}"
    return ""


def _within(value: float, rule: Rule, held: Sequence[_Held]) -> str:
    relative = next((each for each in held if each.key == "bound"), None)
    if relative:
        return _side(value, relative.kept, relative)
    if rule.min is not None and rule.max is not None:
        return f"{number(value)} in {bounds(rule.min, rule.max)}"
    if not held:
        return f"{number(value)} precise enough"
    return f"{number(value)} {held[0].kept} {bounds(rule.min, rule.max)}"


def apart(value: float, bound: float) -> tuple[str, str]:
    """Return two numbers for people, told apart where they differ.

    Args:
        value: the one.
        bound: the other.
    """
    # A miss by less than the shown digits would read `0.7000 < min 0.7000`.
    shown = number(value), number(bound)
    return shown if shown[0] != shown[1] else (repr(value), repr(bound))
