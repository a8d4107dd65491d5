"""Bounds that travel: a value is held to what controls of the same run reach on the same texts.

Relative(start, end, share, by, sigma).margin(value, se, controls, direction) -> Margin | Absent
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_sae.numbers.control import Control
from pytest_sae.numbers.metric_spec import Direction
from pytest_sae.numbers.plain import INTERVAL, as_number, number
from pytest_sae.records.fields import Strict

#: Controls that no dictionary worth anything is level with: what `controls` in a bound means.
WORTHLESS = ("random", "random_tied", "permuted_decoder", "shuffled_labels")


@dataclass(frozen=True)
class Margin:
    """How far a value lies on the right side of a bound.

    Args:
        limit: the bound as a number.
        told: the bound in words, without the number.
        low: lower end of the interval of the margin: from 0 on, the bound is surely kept.
        high: upper end: below 0, it is surely missed.
    """

    limit: float
    told: str
    low: float
    high: float

    @property
    def more(self) -> float:
        """How many times as many units would put the value surely on one side; at least 1."""
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        return float("inf") if middle == 0 else max(1.0, (half / middle) ** 2)


@dataclass(frozen=True)
class Absent:
    """Why there is nothing to hold a value to.

    Args:
        why: what is missing.
        declared: whether there can be none here, by declaration; else it was not measured.
    """

    why: str
    declared: bool


Reference = Control | float


@dataclass(frozen=True)
class Relative(Strict):
    """A bound that controls of the same run set: each of `start` has to be left behind.

    The bound is `start + share (end - start) + by`, with `by` in the better direction.

    Args:
        start: names of controls.
        end: the control at the other end of the way, or a value; empty where there is no way.
        share: how much of the way from start to end, 0 for none.
        by: what has to lie between, in the metric's unit; below 0 for how much worse is let pass.
        sigma: standard errors of the difference by which the bound is surely kept or missed.
    """

    start: tuple[str | float, ...]
    end: str | float = ""
    share: float = 0.0
    by: float = 0.0
    sigma: float = INTERVAL

    @property
    def names(self) -> tuple[str, ...]:
        """The controls that have to be measured."""
        return tuple(each for each in (*self.start, self.end) if isinstance(each, str) and each)

    def margin(
        self,
        value: float,
        se: float | None,
        controls: Sequence[Control],
        direction: Direction,
    ) -> Margin | Absent:
        """Return how far a value is beyond the bound; of several controls, the strongest decides.

        The standard error of a margin that rests on two controls is at most the sum of its parts':
        how both err together is not known, so that this bound stands for it.

        Args:
            value: of the metric.
            se: standard error of it, None where it has none.
            controls: the same metric of each control.
            direction: which way of the metric is better.
        """
        named = {each.control: each for each in controls}
        end = 0.0 if self.end == "" else _found(self.end, named)
        if isinstance(end, Absent):
            return end
        starts = [_found(each, named) for each in self.start]
        absent = [each for each in starts if isinstance(each, Absent)]
        missing = next((each for each in absent if not each.declared), None)
        if missing or len(absent) == len(starts):
            return missing or Absent("; ".join(each.why for each in absent), declared=True)
        margins = [
            self._from(each, end, value, se, -1.0 if direction == "lower" else 1.0)
            for each in starts
            if not isinstance(each, Absent)
        ]
        return min(margins, key=lambda each: (each.low, each.high))

    def _from(
        self, start: Reference, end: Reference, value: float, se: float | None, sign: float
    ) -> Margin:
        way = _value(end) - _value(start)
        # An end that is itself worse than the start asks for no less than the start.
        share = self.share if sign * way > 0 else 0.0
        limit = _value(start) + share * way + sign * self.by
        noise = abs(1 - share) * _noise(start, se) + abs(share) * _noise(end, se)
        ahead, off = sign * (value - limit), self.sigma * noise
        return Margin(limit, self._told(start, end, sign), ahead - off, ahead + off)

    def _told(self, start: Reference, end: Reference, sign: float) -> str:
        if self.end != "":
            return f"{self.share:g} of the way from {_shown(start)} to {_shown(end)}"
        if self.by == 0:
            return _shown(start)
        return f"{_shown(start)} {'+' if sign * self.by > 0 else '-'} {number(abs(self.by))}"


def _value(of: Reference) -> float:
    return (as_number(of.value) or 0.0) if isinstance(of, Control) else of


def _noise(of: Reference, se: float | None) -> float:
    """Return the standard error of the difference of a value to a control, or to a number."""
    return of.noise(se) if isinstance(of, Control) else as_number(se) or 0.0


def _shown(of: Reference) -> str:
    return f"{of.control} {number(_value(of))}" if isinstance(of, Control) else f"{of:g}"


def _found(of: str | float, named: Mapping[str, Control]) -> Reference | Absent:
    """Return a control that has a value; or whether there is none by make, or none was measured."""
    if not isinstance(of, str):
        return of
    control = named.get(of)
    if control is None:
        return Absent(f"{of} was not measured", declared=False)
    if as_number(control.value) is not None:
        return control
    # Shuffled labels leave nothing to measure where all is well.
    declared = control.status in ("not_applicable", "no_data") or control.expected == "chance"
    return Absent(f"{of}: {control.reason or control.status}", declared)
