"""The part of report.json that says whether metrics themselves can be believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_sae.numbers.metric_spec import Direction
from pytest_sae.records.fields import Strict


@dataclass(frozen=True)
class AuditTruth(Strict):
    """How much of the truth a dictionary has recovered."""

    f1: float
    cosine: float
    both: float


@dataclass(frozen=True)
class AuditStanding(Strict):
    """A dictionary of a panel, and where it stands in truth.

    Args:
        member: its name.
        kind: `trained`, `oracle`, `control` or `cut`.
        step: of the training, 0 without one.
        everything: recovery of all true features.
        task: recovery of those that any task is about.
        pairs: of those that the concept pairs (SCR) are about.
        classes: of those that the classes (TPP) are about.
        erased: of those that the tasks are about on which the erasure frontier is measured.
    """

    member: str
    kind: Literal["trained", "oracle", "control", "cut"]
    step: int
    everything: AuditTruth
    task: AuditTruth
    pairs: AuditTruth
    classes: AuditTruth
    erased: AuditTruth


@dataclass(frozen=True)
class AuditWorld(Strict):
    """A world, its panel, and how often a part of it was measured again."""

    world: str
    seeds: int
    panel: tuple[AuditStanding, ...]


@dataclass(frozen=True)
class AuditRank(Strict):
    """A rank correlation with its interval.

    Spearman's, of a metric with recovery, a mean over worlds.

    Args:
        value: in [-1, 1], higher is better; None where the metric is undefined or constant.
        low: end of the 95 % interval; trainings are drawn anew, each with all its checkpoints.
        high: the other end.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class AuditMetric(Strict):
    """What was found of one metric at one setting.

    Args:
        metric: its name.
        setting: such as `n=20`.
        direction: `higher`, `lower`, or `none` where more is neither better nor worse.
        cv: coefficient of variation over reseeds: root mean square deviation over the mean.
        noise: that deviation over the spread between trained dictionaries (0: no noise).
        task: rank correlation with recovery of the features that the tasks are about.
        everything: with recovery of all features.
        f1: with the F1 of the task's features alone, without interval.
        cosine: with their matched cosine alone, without interval.
        ordered: share of adjacent checkpoints in order, of those whose task recovery rises.
        checkpoints: how many pairs of checkpoints that is a share of.
        detects: smallest difference in task recovery above which it tells dictionaries apart with
            95 % power; None if it never does.
        consistency: mean rank correlation with the metric's other settings of n; None without.
        oracle_first: share of worlds in which nothing trained is better than the oracle.
        controls_last: share of worlds in which no control that must be worse is as good as any
            trained dictionary; None where none must be.
        undefined: share of the panel for which it has no value.
        misses: what it would have to reach, and does not, to gate by default.
    """

    metric: str
    setting: str
    direction: Direction
    cv: float | None
    noise: float | None
    task: AuditRank
    everything: AuditRank
    f1: float | None
    cosine: float | None
    ordered: float | None
    checkpoints: int
    detects: float | None
    consistency: float | None
    oracle_first: float | None
    controls_last: float | None
    undefined: float
    misses: tuple[str, ...]


@dataclass(frozen=True)
class Audit(Strict):
    """The audit of the metrics on worlds whose truth is known."""

    size: str
    worlds: tuple[AuditWorld, ...]
    metrics: tuple[AuditMetric, ...]
