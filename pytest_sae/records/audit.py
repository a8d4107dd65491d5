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
    """A dictionary of a panel, and where it stands in truth."""

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
    """A rank correlation with its interval."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class AuditMetric(Strict):
    """What was found of one metric at one setting; see `audit.questions.MetricAudit`."""

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
