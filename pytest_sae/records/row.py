"""The row: what a judged measurement is on its whole way, from a worker to the last report."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from pytest_sae.families.registry import known, spec_of
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Status
from pytest_sae.numbers.keys import metric_key, parse_key
from pytest_sae.numbers.metric_spec import Direction
from pytest_sae.numbers.plain import as_number
from pytest_sae.records.builtin import writable
from pytest_sae.records.doubts import told_doubt
from pytest_sae.records.fields import Ends, Json, Strict
from pytest_sae.records.relative import Margin
from pytest_sae.records.rule import AppliedRule
from pytest_sae.records.verdicts import VerdictName, headline, is_red

Outcome = Literal[
    "passed", "failed", "error", "skipped", "xfailed", "xpassed", "crashed", "missing"
]
Param = bool | int | float | str

#: Of what there is nothing to measure: by declaration, without data, or where the model fails.
ABSENT: tuple[Status, ...] = ("not_applicable", "no_data", "unable")


@dataclass(frozen=True)
class Against(Strict):
    """What a measurement was compared with.

    Args:
        source: the baseline, as shown to people.
        value: its value, None where it has none.
        se: standard error of that, None where it has none.
        differs: what both were not made with alike, a sentence each; empty if comparable.
        required: whether a value that the baseline does not have fails the run (in CI).
        paired: standard error of the difference, text by text, where both say what each text adds
            to their errors; None where they have to be taken for independent.
    """

    source: str
    value: float | None
    se: float | None
    differs: tuple[str, ...]
    required: bool
    paired: float | None

    def noise(self, se: float | None) -> float:
        """Return the standard error of the difference to a value with this standard error."""
        # An infinite one would let every regression pass, and NaN would compare as no difference.
        paired = as_number(self.paired)
        return self.unpaired(se) if paired is None else paired

    def unpaired(self, se: float | None) -> float:
        """Return what it would be if both were measured on other texts."""
        return math.hypot(as_number(se) or 0.0, as_number(self.se) or 0.0)

    def worse(self, value: float, direction: Direction) -> float:
        """Return by how much a value is worse; either way, where no way is better."""
        difference = (self.value or 0.0) - value
        if direction == "none":
            return abs(difference)
        return difference if direction == "higher" else -difference


@dataclass(frozen=True)
class JudgedControl(Strict, Control):
    """What the metric of a measurement says of a control, and whether that is as it must be.

    Args:
        holds: whether it is as it must be, None where nothing must hold or nothing was compared.
    """

    direction: Direction
    value: float | None
    # As in `Control`, and all of them have to be there.
    se: float | None = field()
    ci: tuple[float | None, ...] | None = field()
    n: dict[str, int] = field()
    status: Status = field()
    reason: str = field()
    chance: float = field()
    fingerprint: str = field()
    paired: float | None = field()
    holds: bool | None


@dataclass(frozen=True, kw_only=True)
class Row(Strict):
    """One metric of one SAE at one setting, with its verdict.

    Args:
        sae: id of the dictionary.
        metric: its name.
        params: the setting.
        value: finite, None where there is none.
        se: standard error, None where it has none.
        ci: both ends of the interval, None where it has none.
        n: how many units it rests on, by kind.
        seeds: how many random fits it averages over.
        direction: which way of the metric is better.
        unit: of the metric, in words.
        range: smallest and largest possible value, None where unbounded.
        status: of the estimate.
        reason: the comparison that decided, or why none could be made.
        verdict: of the gate.
        rule: the bounds, None where the thresholds are silent.
        baseline: what it was compared with, None where nothing was.
        controls: the same metric of what it has to tell the dictionary from.
        seconds: wall time of the family that made it.
        peak_memory: bytes.
        fingerprints: of what it was made with: sae, model, site, data, suite, code.
        details: of the family's own form.
        nodeid: the test that judged it.
        outcome: of that test.
        worker: the process that measured it.
    """

    sae: str
    metric: str
    params: dict[str, Param]
    value: float | None
    se: float | None
    ci: tuple[float | None, ...] | None
    n: dict[str, int]
    seeds: int
    direction: Direction
    unit: str
    range: Ends
    status: Status
    reason: str
    verdict: VerdictName
    rule: AppliedRule | None
    baseline: Against | None
    # Reports from before there were controls have none.
    controls: tuple[JudgedControl, ...] = ()
    seconds: float
    peak_memory: int
    fingerprints: dict[str, str]
    details: dict[str, Json]
    nodeid: str
    outcome: Outcome
    worker: str

    @property
    def key(self) -> str:
        """Metric and setting as one word: `scr:n=20`."""
        return metric_key(self.metric, self.params)

    @property
    def order(self) -> tuple[object, ...]:
        """What rows are sorted by: SAE, metric, params (numbers as numbers), test."""
        params = tuple(
            (name, isinstance(value, str), value) for name, value in sorted(self.params.items())
        )
        return self.sae, self.metric, params, self.nodeid

    @property
    def red(self) -> bool:
        """Whether it fails the run."""
        required = self.baseline is not None and self.baseline.required
        return is_red(self.verdict, self.outcome, required)

    @property
    def declined(self) -> bool:
        """Whether it was looked at, there is nothing to measure here, and that is not red."""
        return self.status in ABSENT and self.verdict == "ungated"

    @property
    def headline(self) -> str:
        """The complete first line that is told of it."""
        return headline(self.sae, self.key, self.value, self.verdict, self.reason)

    @property
    def limits(self) -> tuple[float | None, float | None]:
        """The smallest and the largest value that pass, those that its controls set among them."""
        if self.rule is None:
            return None, None
        low, high, bound = self.rule.min, self.rule.max, self.rule.bound
        if bound is not None and self.value is not None:
            found = bound.margin(self.value, self.se, self.controls, self.direction)
            if isinstance(found, Margin) and self.direction == "lower":
                high = found.limit if high is None else min(high, found.limit)
            elif isinstance(found, Margin):
                low = found.limit if low is None else max(low, found.limit)
        return low, high

    @property
    def doubt(self) -> str:
        """Why its metric does not tell the SAE from its controls, empty if it does."""
        missed = (each for each in self.controls if each.holds is False)
        return told_doubt(self.value, self.se, missed)


def unmeasured_row(
    sae: str, key: str, reason: str, nodeid: str, outcome: Outcome = "missing"
) -> Row:
    """Return the row of a metric that a test was to measure and did not.

    Args:
        sae: id of the dictionary.
        key: metric and setting as one word.
        reason: why it was not measured.
        nodeid: of the test.
        outcome: of the test.
    """
    metric, params = parse_key(key)
    spec = spec_of(metric) if metric in known() else None
    return Row(
        sae=sae,
        metric=metric,
        params=params,
        value=None,
        se=None,
        ci=None,
        n={},
        seeds=0,
        direction=spec.direction if spec else "none",
        unit=spec.unit if spec else "",
        range=(spec.low, spec.high) if spec else (None, None),
        status="undefined",
        reason=reason,
        verdict="unmeasured",
        rule=None,
        baseline=None,
        seconds=0.0,
        peak_memory=0,
        fingerprints={},
        details={},
        nodeid=writable(nodeid),
        outcome=outcome,
        worker="",
    )


def values_of(rows: Iterable[Row]) -> dict[tuple[str, str], float]:
    """Return every value there is, by SAE and key."""
    return {(row.sae, row.key): row.value for row in rows if row.value is not None}
