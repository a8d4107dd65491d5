"""The part of report.json that says whether metrics themselves can be believed."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class AuditTruth(_Strict):
    """How much of the truth a dictionary has recovered."""

    f1: float
    cosine: float
    both: float


class AuditStanding(_Strict):
    """A dictionary of a panel, and where it stands in truth."""

    member: str
    kind: Literal["trained", "oracle", "control", "cut"]
    step: int
    everything: AuditTruth
    task: AuditTruth
    pairs: AuditTruth
    classes: AuditTruth
    erased: AuditTruth


class AuditWorld(_Strict):
    """A world, its panel, and how often a part of it was measured again."""

    world: str
    seeds: int
    panel: list[AuditStanding]


class AuditRank(_Strict):
    """A rank correlation with its interval."""

    value: float | None
    low: float | None
    high: float | None


class AuditMetric(_Strict):
    """What was found of one metric at one setting; see `audit.lenses.MetricAudit`."""

    metric: str
    setting: str
    direction: Literal["higher", "lower", "none"]
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
    misses: list[str]


class Audit(_Strict):
    """The audit of the metrics on worlds whose truth is known."""

    size: str
    worlds: list[AuditWorld]
    metrics: list[AuditMetric]
