"""Bounds with one number left open, and what a row surely keeps of each.

forms(rows) -> the forms that a metric's bound can have, the one that travels best first
BoundForm.strictest(row) -> the largest number that the gate would surely let this row pass with
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from pytest_sae.families.registry import comparable
from pytest_sae.gate.bounded import interval
from pytest_sae.gate.judged import estimate_of
from pytest_sae.numbers.plain import INTERVAL, as_number
from pytest_sae.records.relative import WORTHLESS, Margin, Relative
from pytest_sae.records.row import Row

_MOST_SHARE = 10.0  # of the way to PCA, that is looked at
_HALVINGS = 40


@dataclass(frozen=True)
class Reached:
    """What a row reaches under a form of bound: the larger, the better.

    Args:
        surely: the strictest number that its whole interval keeps.
        about: the strictest number that its value keeps.
    """

    surely: float
    about: float

    @property
    def error(self) -> float:
        """The standard error of it."""
        return abs(self.about - self.surely) / INTERVAL


@dataclass(frozen=True)
class BoundForm:
    """A bound with one number left open, of which a larger one asks for more.

    Args:
        write: returns the bound as a line of TOML.
        strictest: returns what a row reaches, None where it has nothing to be held to.
        unit: what the number is, for people.
        shown: the number as people know it.
        relative: whether controls set it.
    """

    write: Callable[[float], str]
    strictest: Callable[[Row], Reached | None]
    unit: str = ""
    shown: Callable[[float], float] = float
    relative: bool = False


def forms(rows: Sequence[Row]) -> Iterator[BoundForm]:
    """Give the forms that a bound can have, the one that travels best first.

    Args:
        rows: of one metric at one setting, which has a better direction; what all of them have
            controls for can be held to those.
    """
    metric, direction = rows[0].metric, rows[0].direction
    there = [{each.control for each in row.controls} for row in rows]
    has = [name for name in comparable(metric) if all(name in each for each in there)]
    starts = tuple(name for name in has if name in WORTHLESS)
    if starts:
        told = _told(starts, metric)
        if "pca" in has:
            yield _share(starts, told)
        yield _beyond(starts, told, "below" if direction == "lower" else "above")
    yield _most() if direction == "lower" else _least()


def _told(starts: Sequence[str], metric: str) -> str:
    every = [name for name in comparable(metric) if name in WORTHLESS]
    return json.dumps("controls" if list(starts) == every else list(starts))


def _share(starts: tuple[str, ...], told: str) -> BoundForm:
    def strictest(row: Row) -> Reached | None:
        def held(share: float) -> Margin | None:
            return _margin(row, Relative(starts, "pca", share))

        if held(0.0) is None or not _surely_better("pca", row, starts):
            return None
        return Reached(_largest(held, lambda margin: margin.low), _largest(held, _middle))

    return BoundForm(
        lambda share: f'bound = {{ share = {share!r}, from = {told}, to = "pca" }}',
        strictest,
        " of the way from the worthless controls to pca",
        relative=True,
    )


def _largest(held: Callable[[float], Margin | None], end: Callable[[Margin], float]) -> float:
    """Return the largest share that is kept, by halving; 0 where none is."""
    low, high = 0.0, _MOST_SHARE
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        margin = held(middle)
        kept = margin is not None and end(margin) >= 0
        low, high = (middle, high) if kept else (low, middle)
    return low


def _beyond(starts: tuple[str, ...], told: str, word: str) -> BoundForm:
    def strictest(row: Row) -> Reached | None:
        margin = _margin(row, Relative(starts))
        return Reached(margin.low, _middle(margin)) if margin else None

    return BoundForm(
        lambda by: f"bound = {{ {word} = {told}, by = {by!r} }}",
        strictest,
        f" {word} the worthless controls",
        relative=True,
    )


def _margin(row: Row, bound: Relative) -> Margin | None:
    value = as_number(row.value)
    if value is None:
        return None
    found = bound.margin(value, row.se, row.controls, row.direction)
    return found if isinstance(found, Margin) else None


def _surely_better(name: str, row: Row, starts: tuple[str, ...]) -> bool:
    """Whether a control is, by its whole interval, better than others."""
    unpaired = tuple(replace(each, paired=None) for each in row.controls)
    (control,) = (each for each in unpaired if each.control == name)
    alone = replace(row, value=control.value, se=control.se, controls=unpaired)
    margin = _margin(alone, Relative(starts))
    return margin is not None and margin.low > 0


def _middle(margin: Margin) -> float:
    return (margin.low + margin.high) / 2


def _least() -> BoundForm:
    def strictest(row: Row) -> Reached | None:
        value = as_number(row.value)
        return None if value is None else Reached(interval(estimate_of(row), value)[0], value)

    return BoundForm(lambda least: f"min = {least!r}", strictest)


def _most() -> BoundForm:
    def strictest(row: Row) -> Reached | None:
        value = as_number(row.value)
        return None if value is None else Reached(-interval(estimate_of(row), value)[1], -value)

    return BoundForm(lambda most: f"max = {-most!r}", strictest, shown=lambda most: -most)
