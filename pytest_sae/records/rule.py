"""The bounds that a measurement was judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_sae.records.fields import Strict
from pytest_sae.records.relative import Relative

Undecided = Literal["fail", "pass"]


@dataclass(frozen=True)
class Tolerance(Strict):
    """How much worse than a baseline is too much: more than the tolerance and than the noise.

    Args:
        abs: tolerance in the metric's unit.
        rel: tolerance as a share of the baseline's absolute value; the larger of both counts.
        sigma: noise, in standard errors of the difference.
    """

    abs: float
    rel: float
    sigma: float

    def tolerance(self, baseline: float) -> float:
        """Return what does not matter in practice."""
        return max(self.abs, self.rel * abs(baseline))

    def limit(self, baseline: float, noise: float) -> float:
        """Return the largest difference that is let pass.

        Args:
            baseline: the value of the baseline.
            noise: standard error of the difference.
        """
        # Without the condition, 0 times an infinite standard error would be no number.
        return max(self.tolerance(baseline), self.sigma * noise if self.sigma else 0.0)


@dataclass(frozen=True)
class AppliedRule(Strict):
    """The bounds that a measurement was judged by.

    Args:
        name: as the thresholds spell it: `scr`, `scr:n=20`.
        min: smallest value that passes, None for no bound.
        max: largest value that passes, None for no bound.
        max_se: largest standard error that counts as measured, None for no bound.
        regression: how much worse than a baseline is too much, None where no way is worse.
        gate: False for a metric that is shown and does not decide.
        optional: whether the metric may be absent: None where only the model may be the reason.
        reason: why the rule is what it is.
        override: pattern of the SAEs that an override made this rule for, empty if none did.
        file: the file, as shown to people.
        line: of the key that decided.
        bound: the bound that controls set, None for none.
        max_rel_se: largest standard error as a share of the value, None for no bound.
        undecided: what becomes of a value whose interval spans a bound: `fail` or `pass`.
        beside_baseline: whether it decides only where a baseline has a value of the metric.
    """

    name: str
    min: float | None
    max: float | None
    max_se: float | None
    regression: Tolerance | None
    gate: bool
    optional: bool | None
    reason: str
    override: str
    file: str
    line: int
    bound: Relative | None = None
    max_rel_se: float | None = None
    undecided: Undecided = "fail"
    beside_baseline: bool = False

    @property
    def bounded(self) -> bool:
        """Whether it can be judged without a baseline."""
        bounds = (self.min, self.max, self.max_se, self.max_rel_se, self.bound)
        return any(bound is not None for bound in bounds)

    @property
    def source(self) -> str:
        """Where it stands: `file:line`."""
        return f"{self.file}:{self.line}"
