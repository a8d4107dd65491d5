"""report.json as a whole: everything that a run measured and decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_sae.records.audit import Audit
from pytest_sae.records.fields import Json, Strict
from pytest_sae.records.plan import NOTHING, Plan
from pytest_sae.records.row import Outcome, Row
from pytest_sae.records.verdicts import RunVerdict, VerdictName

if TYPE_CHECKING:
    import pandas

SCHEMA_VERSION: Literal[4] = 4
#: How the file is called, in the directory of a run's reports.
NAME = "report.json"


@dataclass(frozen=True)
class SAE(Strict):
    """A dictionary of the run."""

    id: str
    path: str
    text: str


@dataclass(frozen=True)
class Notable(Strict):
    """A test that left no record, or did not simply pass."""

    nodeid: str
    sae: str | None
    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class ThresholdsFile(Strict):
    """A file of bounds that was used."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Update(Strict):
    """What a run did to the baseline."""

    baseline: str
    changes: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Shard(Strict):
    """Which part of the SAEs a run evaluated, and which SAEs there are."""

    which: int
    count: int
    saes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Head(Strict):
    """What a report says of a run as a whole.

    Args:
        remarks: what a reader should know, and decides nothing.
    """

    complete: bool
    verdict: RunVerdict | VerdictName
    problems: tuple[str, ...]
    exit_status: int
    started: str
    duration: float
    argv: tuple[str, ...]
    versions: dict[str, str]
    options: dict[str, Json]
    thresholds: tuple[ThresholdsFile, ...]
    saes: tuple[SAE, ...]
    shard: Shard | None
    update: Update | None
    tests: tuple[Notable, ...]
    environment: dict[str, Json]
    models: dict[str, Json]
    data: dict[str, Json]
    work: dict[str, Json]
    audit: Audit | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report(Head):
    """Everything that a run measured and decided; up to version 3 the file was just this."""

    # 1: before there was a plan; the verdict was that of the worst row.
    # 4: what rows share stands once, and details beside the file.
    schema_version: Literal[1, 2, 3, 4]
    measurements: tuple[Row, ...]
    plan: Plan = NOTHING

    def to_frame(self) -> pandas.DataFrame:
        """Return the measurements as a data frame, one row a value.

        Returns:
            Flat columns: sae, metric, settings, value, se, low and high (ends of the interval), n,
            verdict, bounds, and more.

        Raises:
            PytestSAEError: pandas is not installed.
        """
        from pytest_sae.records.flat import frame

        return frame(self.measurements)
