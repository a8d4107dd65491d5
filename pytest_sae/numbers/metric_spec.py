"""What a metric's number means: its direction, unit and range, and what it must tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pytest_sae.numbers.control import Expected
    from pytest_sae.numbers.estimate import Param

Direction = Literal["higher", "lower", "none"]


@dataclass(frozen=True)
class MetricSpec:
    """What a metric's number means.

    Args:
        name: plain name, as in thresholds and reports (`explained_variance`, `scr.canonical`).
        direction: which way is better; `none` for a budget or a description (L0).
        unit: unit in words, empty for a dimensionless number.
        low: smallest possible value, None where unbounded.
        high: largest possible value, None where unbounded.
        title: one line for people.
        settings: at which it is tested where a test names none.
        controls: what must hold of each control that it is measured on.
        chance: what a guess reaches.
        heading: under which it stands in reports; empty for that of its family.
        headline: whether it sums its family up, in place of being a detail of it.
    """

    name: str
    direction: Direction
    unit: str
    low: float | None
    high: float | None
    title: str
    settings: tuple[Mapping[str, Param], ...] = ({},)
    controls: Mapping[str, Expected] = field(default_factory=dict)
    chance: float = 0.0
    heading: str = ""
    headline: bool = False
