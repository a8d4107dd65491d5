"""What a metric's number means: its direction, unit and range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
    """

    name: str
    direction: Direction
    unit: str
    low: float | None
    high: float | None
    title: str
