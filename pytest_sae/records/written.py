"""report.json as it is written: what rows share stands once, and details in a file beside it.

packed(report, details) -> WrittenReport            unpacked(WrittenReport) -> Report
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from typing import Any, Generic, Literal, TypeVar

from pytest_sae.errors import ReportError
from pytest_sae.numbers.control import Expected
from pytest_sae.numbers.estimate import LEFT_OUT, Status
from pytest_sae.numbers.keys import metric_key
from pytest_sae.numbers.metric_spec import Direction
from pytest_sae.records.fields import Ends, Json, Strict
from pytest_sae.records.plan import Item, Plan
from pytest_sae.records.report import SCHEMA_VERSION, Head, Report
from pytest_sae.records.row import Against, JudgedControl, Outcome, Param, Row
from pytest_sae.records.rule import AppliedRule
from pytest_sae.records.verdicts import VerdictName

T = TypeVar("T")

#: Details by which a run is judged, or that every report tells: they stay with their row.
KEPT = (LEFT_OUT, "repeats")


@dataclass(frozen=True)
class WrittenSpec(Strict):
    """What a metric is: a row's `spec` is the place of its entry in `metrics`."""

    metric: str
    direction: Direction
    unit: str
    range: Ends


@dataclass(frozen=True)
class WrittenMeasured(Strict):
    """How a family of one SAE was measured: a row's `measured` is the place of its entry.

    `test` is the test without what it is parametrised by, `fingerprints` a place in that table.
    """

    test: str
    seconds: float
    peak_memory: int
    worker: str
    fingerprints: int


@dataclass(frozen=True)
class WrittenSource(Strict):
    """A baseline, and what differs from it: a place of it is `of` in a row's `baseline`."""

    source: str
    differs: tuple[str, ...]
    required: bool


@dataclass(frozen=True)
class WrittenAgainst(Strict):
    """What a measurement was compared with."""

    of: int
    value: float | None
    se: float | None
    paired: float | None


@dataclass(frozen=True)
class WrittenDictionary(Strict):
    """What an SAE is told from: `of` in a row's `controls` is the place of its entry."""

    control: str
    expected: Expected
    direction: Direction
    fingerprint: str


@dataclass(frozen=True)
class WrittenControl(Strict):
    """What the metric of a measurement says of a control."""

    of: int
    value: float | None
    se: float | None
    ci: tuple[float | None, ...] | None
    n: dict[str, int]
    status: Status
    reason: int
    chance: float
    paired: float | None
    holds: bool | None


@dataclass(frozen=True, kw_only=True)
class WrittenRow(Strict):
    """One metric of one SAE at one setting, with its verdict.

    `rule`, `reason`, `spec` and `measured` are places in `rules`, `reasons`, `metrics` and
    `measured`; its test is that of `measured` with its `case`: null for `[SAE-METRIC:SETTING]`.
    """

    sae: str
    metric: str
    params: dict[str, Param]
    value: float | None
    se: float | None
    ci: tuple[float | None, ...] | None
    n: dict[str, int]
    seeds: int
    spec: int
    status: Status
    reason: int
    verdict: VerdictName
    rule: int | None
    baseline: WrittenAgainst | None
    controls: tuple[WrittenControl, ...]
    measured: int
    case: str | None
    outcome: Outcome
    details: dict[str, Json]


@dataclass(frozen=True)
class WrittenItems(Strict):
    """Things that a run must judge of one SAE, which one rule or baseline asks for."""

    kind: Literal["sae", "rule", "baseline", "family"]
    sae: str
    by: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class WrittenPlan(Strict):
    """What a run must judge."""

    items: tuple[WrittenItems, ...]
    narrowed: tuple[str, ...]


@dataclass(frozen=True)
class DetailsFile(Strict):
    """The file beside report.json that has the rest of the details, and its checksum."""

    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class WrittenReport(Head):
    """report.json: everything that a run measured and decided."""

    schema_version: Literal[4]
    details: DetailsFile | None
    plan: WrittenPlan
    rules: tuple[AppliedRule, ...]
    reasons: tuple[str, ...]
    metrics: tuple[WrittenSpec, ...]
    baselines: tuple[WrittenSource, ...]
    controls: tuple[WrittenDictionary, ...]
    fingerprints: tuple[dict[str, str], ...]
    measured: tuple[WrittenMeasured, ...]
    measurements: tuple[WrittenRow, ...]


#: The parts of report.json that have one entry a line.
LINES = (
    "rules",
    "reasons",
    "metrics",
    "baselines",
    "controls",
    "fingerprints",
    "measured",
    "measurements",
)


class _Table(Generic[T]):
    """Entries, each once, in the order in which they were first met."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self.entries: list[T] = []

    def place(self, entry: T) -> int:
        """Return where an entry stands, which is added if it is new."""
        # Told apart as they are written: 1 and 1.0 are equal, and True too.
        place = self._places.setdefault(repr(entry), len(self.entries))
        if place == len(self.entries):
            self.entries.append(entry)
        return place


class _Tables:
    def __init__(self) -> None:
        self.rules = _Table[AppliedRule]()
        self.reasons = _Table[str]()
        self.metrics = _Table[WrittenSpec]()
        self.baselines = _Table[WrittenSource]()
        self.controls = _Table[WrittenDictionary]()
        self.fingerprints = _Table[dict[str, str]]()
        self.measured = _Table[WrittenMeasured]()

    def row(self, row: Row) -> WrittenRow:
        test, bracket, case = row.nodeid.partition("[")
        marks = self.fingerprints.place(row.fingerprints)
        measured = WrittenMeasured(test, row.seconds, row.peak_memory, row.worker, marks)
        spec = WrittenSpec(row.metric, row.direction, row.unit, row.range)
        return WrittenRow(
            **_of(row, _SAME),
            reason=self.reasons.place(row.reason),
            spec=self.metrics.place(spec),
            rule=None if row.rule is None else self.rules.place(row.rule),
            baseline=self.against(row.baseline),
            controls=tuple(map(self.control, row.controls)),
            measured=self.measured.place(measured),
            case=None if bracket + case == _case(row.sae, row.key) else bracket + case,
            details={name: told for name, told in row.details.items() if name in KEPT},
        )

    def against(self, told: Against | None) -> WrittenAgainst | None:
        if told is None:
            return None
        source = WrittenSource(told.source, told.differs, told.required)
        return WrittenAgainst(self.baselines.place(source), told.value, told.se, told.paired)

    def control(self, told: JudgedControl) -> WrittenControl:
        what = WrittenDictionary(told.control, told.expected, told.direction, told.fingerprint)
        return WrittenControl(
            of=self.controls.place(what),
            reason=self.reasons.place(told.reason),
            **_of(told, _OF_CONTROL),
        )


_SAME = ("sae", "metric", "params", "value", "se", "ci", "n", "seeds", "status",
         "verdict", "outcome")  # fmt: skip
_OF_CONTROL = ("value", "se", "ci", "n", "status", "chance", "paired", "holds")
_HEAD = tuple(each.name for each in fields(Head))


def packed(report: Report, details: DetailsFile | None) -> WrittenReport:
    """Return a report as it is written.

    Args:
        report: all of it.
        details: the file that has those details which are not kept with their rows.
    """
    tables = _Tables()
    rows = tuple(tables.row(row) for row in report.measurements)
    return WrittenReport(
        **_of(report, _HEAD),
        schema_version=SCHEMA_VERSION,
        details=details,
        plan=WrittenPlan(tuple(_grouped(report.plan.items)), report.plan.narrowed),
        rules=tuple(tables.rules.entries),
        reasons=tuple(tables.reasons.entries),
        metrics=tuple(tables.metrics.entries),
        baselines=tuple(tables.baselines.entries),
        controls=tuple(tables.controls.entries),
        fingerprints=tuple(tables.fingerprints.entries),
        measured=tuple(tables.measured.entries),
        measurements=rows,
    )


def _grouped(items: Iterable[Item]) -> Iterable[WrittenItems]:
    """Those that follow each other and differ by their names alone: the values of a baseline."""
    for (kind, sae, by), group in groupby(items, lambda each: (each.kind, each.sae, each.by)):
        yield WrittenItems(kind, sae, by, tuple(each.name for each in group))


def unpacked(written: WrittenReport) -> Report:
    """Return the report that was written, with those details alone that stand in it.

    Args:
        written: as read, each field of the right type.

    Raises:
        ReportError: a row names an entry that is not there.
    """
    items = (
        Item(each.kind, each.sae, name, each.by) for each in written.plan.items
        for name in each.names
    )  # fmt: skip
    return Report(
        **_of(written, _HEAD),
        schema_version=written.schema_version,
        plan=Plan(tuple(items), written.plan.narrowed),
        measurements=tuple(_row(row, written) for row in written.measurements),
    )


def _row(row: WrittenRow, written: WrittenReport) -> Row:
    measured = _entry(written.measured, row.measured, "measured")
    spec = _entry(written.metrics, row.spec, "metrics")
    if spec.metric != row.metric:
        raise ReportError(f"a row of {row.metric} says that it is {spec.metric}")
    key = metric_key(row.metric, row.params)
    return Row(
        **_of(row, _SAME),
        reason=_entry(written.reasons, row.reason, "reasons"),
        direction=spec.direction,
        unit=spec.unit,
        range=spec.range,
        rule=None if row.rule is None else _entry(written.rules, row.rule, "rules"),
        baseline=_against(row.baseline, written),
        controls=tuple(_control(each, written) for each in row.controls),
        seconds=measured.seconds,
        peak_memory=measured.peak_memory,
        fingerprints=_entry(written.fingerprints, measured.fingerprints, "fingerprints"),
        details=row.details,
        nodeid=measured.test + (_case(row.sae, key) if row.case is None else row.case),
        worker=measured.worker,
    )


def _against(told: WrittenAgainst | None, written: WrittenReport) -> Against | None:
    if told is None:
        return None
    source = asdict(_entry(written.baselines, told.of, "baselines"))
    return Against(value=told.value, se=told.se, paired=told.paired, **source)


def _control(told: WrittenControl, written: WrittenReport) -> JudgedControl:
    what = asdict(_entry(written.controls, told.of, "controls"))
    reason = _entry(written.reasons, told.reason, "reasons")
    return JudgedControl(reason=reason, **what, **_of(told, _OF_CONTROL))


def _case(sae: str, key: str) -> str:
    """What pytest writes behind the test of a metric and a setting."""
    return f"[{sae}-{key}]"


def _of(record: object, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}


def _entry(table: Sequence[T], place: int, name: str) -> T:
    if not 0 <= place < len(table):
        raise ReportError(f"{name} has {len(table)} entries, and a row names number {place}")
    return table[place]
