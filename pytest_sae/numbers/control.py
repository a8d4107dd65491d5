"""A control: the same figure of something that is worse, or better, than an SAE by make."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pytest_sae.numbers.plain import as_number

Expected = Literal["below", "same", "chance", "reference"]

#: Every control that there is, in the order of reports.
CONTROLS = (
    "random",
    "permuted_decoder",
    "best_k",
    "random_tied",
    "shuffled_labels",
    "word_deletion",
    "pca",
    "identity",
)


@dataclass(frozen=True)
class Control:
    """What a metric says of a control: the same figure of something worse, or better, by make.

    Args:
        control: one of `CONTROLS`.
        expected: `below`: worse than the SAE; `same`: to the bit; `chance`: at chance, or
            undefined, and the SAE is better than chance; `reference`: nothing must hold.
        direction: which way of the metric is better: `higher`, `lower` or `none`.
        value: None unless status is `ok`.
        se: standard error of that, None where it has none.
        ci: 95 % interval, None where it has none.
        n: how many units it rests on, by kind.
        status: of the estimate.
        reason: why it is not `ok`.
        chance: what a guess reaches.
        fingerprint: of the control's dictionary; empty where it has none of its own.
        paired: standard error of the difference to the SAE's value, text by text, where both say
            what each text adds to their errors; None where they have to be taken for independent.
    """

    control: str
    expected: Expected
    direction: str
    value: float | None
    se: float | None = None
    ci: Sequence[float | None] | None = None
    n: Mapping[str, int] = field(default_factory=dict)
    status: str = "ok"
    reason: str = ""
    chance: float = 0.0
    fingerprint: str = ""
    paired: float | None = None

    def noise(self, se: object) -> float:
        """Return the standard error of the difference to a value with this standard error."""
        paired = as_number(self.paired)
        if paired is not None:
            return abs(paired)
        return math.hypot(as_number(se) or 0.0, as_number(self.se) or 0.0)
