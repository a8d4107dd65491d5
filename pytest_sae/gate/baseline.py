"""Baselines: the values of an earlier run, what they can be compared with, and their update."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

from pytest_sae.numbers.estimate import Param
from pytest_sae.numbers.keys import metric_key
from pytest_sae.numbers.plain import number
from pytest_sae.records.made_alike import differences
from pytest_sae.records.row import Against, Row
from pytest_sae.records.verdicts import difference

# The sizes of the published protocols.
_AS_PUBLISHED = "paper"
_NONE: Mapping[tuple[str, str], Sequence[float]] = MappingProxyType({})


@dataclass(frozen=True)
class Entry:
    """One value of a baseline.

    Args:
        sae: id of the dictionary.
        metric: its name.
        params: the setting.
        value: finite.
        se: standard error, None where it has none.
        ci: both ends of the interval, None where it has none.
        n: how many units it rests on, by kind.
        seeds: how many random fits it averages over.
        fingerprints: of what it was made with: model, site, data, suite, code, and of the SAE.
        influence: what each text adds to the error of the value; empty where it was not kept.
        published: by whom it was measured, where that was not this package.
    """

    sae: str
    metric: str
    params: Mapping[str, Param]
    value: float
    se: float | None = None
    ci: Sequence[float | None] | None = None
    n: Mapping[str, int] = field(default_factory=dict)
    seeds: int = 1
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    influence: Sequence[float] = ()
    published: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What it is looked up by: the SAE, and metric with setting as one word."""
        return self.sae, metric_key(self.metric, self.params)

    @property
    def order(self) -> tuple[object, ...]:
        """What entries are sorted by: SAE, metric, params (numbers as numbers)."""
        params = tuple(
            (name, isinstance(value, str), str(value) if isinstance(value, str) else value)
            for name, value in sorted(self.params.items())
        )
        return self.sae, self.metric, params


@dataclass(frozen=True)
class Baseline:
    """What a run is compared with.

    Args:
        source: as shown to people.
        entries: of all SAEs.
    """

    source: str
    entries: Sequence[Entry]

    def against(
        self,
        key: tuple[str, str],
        fingerprints: Mapping[str, str],
        required: bool = False,
        influence: Sequence[float] = (),
    ) -> Against | None:
        """Return what the baseline says about a measurement; None where it has no business with it.

        A published one knows a few canonical values, and says nothing of all others.

        Args:
            key: of the measurement: SAE, and metric with setting.
            fingerprints: of what it was made with.
            required: whether it has to be in the baseline.
            influence: of the measurement; empty where it has none.
        """
        entry = self._by_key.get(key)
        if entry is None and key[0] in self._published:
            return None
        if entry is None:
            return Against(self.source, None, None, (), required, None)
        differs = tuple(_unlike(entry, fingerprints))
        paired = None if differs else paired_error(entry.influence, influence)
        by = f" (published: {entry.published})" if entry.published else ""
        return Against(f"{self.source}{by}", entry.value, entry.se, differs, required, paired)

    @cached_property
    def _published(self) -> set[str]:
        """The SAEs of which it has published values alone."""
        own = {entry.sae for entry in self.entries if not entry.published}
        return {entry.sae for entry in self.entries} - own

    @cached_property
    def _by_key(self) -> Mapping[tuple[str, str], Entry]:
        return {entry.key: entry for entry in self.entries}


def _unlike(entry: Entry, now: Mapping[str, str]) -> list[str]:
    """What two values were not made with alike, as far as is known of a published one."""
    if not entry.published:
        return differences(entry.fingerprints, now)
    suite = now.get("suite", "not said")
    return [] if suite.startswith(_AS_PUBLISHED) else [f"suite is {suite}, not {_AS_PUBLISHED}"]


def judging(baseline: Baseline, saes: Collection[str]) -> Baseline:
    """Return a baseline as it judges a run: SAEs are compared that are called alike.

    Where each is about a single SAE, these are compared whatever they are called.

    Args:
        baseline: the values of an earlier run.
        saes: ids of the run, those of its other shards too.
    """
    old = {entry.sae for entry in baseline.entries}
    if len(old) != 1 or len(saes) != 1 or old == {*saes}:
        return baseline
    (was,), (name,) = old, saes
    entries = tuple(replace(entry, sae=name) for entry in baseline.entries)
    return Baseline(f"{was} in {baseline.source}", entries)


def paired_error(before: Sequence[float], now: Sequence[float]) -> float | None:
    """Return the standard error of the difference of two values measured on the same units.

    What a unit adds to the error of a difference is the difference of what it adds to both, so
    that what is hard for both cancels. None where the units are not known to be the same.

    Args:
        before: what each unit adds to the error of the one value.
        now: the same for the other.
    """
    return math.dist(before, now) if before and len(before) == len(now) else None


def entries_of(
    rows: Iterable[Row], influence: Mapping[tuple[str, str], Sequence[float]] = _NONE
) -> list[Entry]:
    """Return what a report has measured as entries, sorted, each key once.

    Rows without a value, or with one that was not precise enough or not asked for, are left out.

    Args:
        rows: of the report.
        influence: what each text adds to the errors of their values, as far as that is known.

    Raises:
        ValueError: two rows of one key disagree; says which.
    """
    found: dict[tuple[str, str], Entry] = {}
    for row in rows:
        if row.value is None or row.verdict == "unmeasured":
            continue
        entry = Entry(
            row.sae,
            row.metric,
            row.params,
            row.value,
            row.se,
            row.ci,
            row.n,
            row.seeds,
            row.fingerprints,
            influence.get((row.sae, row.key), ()),
        )
        if found.setdefault(entry.key, entry).value != entry.value:
            raise ValueError(f"{entry.key[1]} of {entry.sae} was measured twice, and differently")
    return sorted(found.values(), key=lambda entry: entry.order)


def updated(before: Iterable[Entry], now: Iterable[Entry], only_new: bool) -> list[Entry]:
    """Return the entries of a baseline after an update, sorted.

    Args:
        before: what it has.
        now: what the run measured.
        only_new: whether values that it already has stay as they are.

    Returns:
        What the run did not measure is kept.
    """
    old = {entry.key: entry for entry in before}
    new = {entry.key: entry for entry in now}
    merged = {**new, **old} if only_new else {**old, **new}
    return sorted(merged.values(), key=lambda entry: entry.order)


def changes(
    before: Iterable[Entry], after: Iterable[Entry], measured: Collection[tuple[str, str]]
) -> list[str]:
    """Return what an update changes, a line each: values, settings, and what was not measured.

    Args:
        before: the baseline as it was.
        after: as it is after the update.
        measured: keys that the run measured.
    """
    old = {entry.key: entry for entry in before}
    lines = [_change(old.get(entry.key), entry) for entry in after]
    saes = {sae for sae, _ in measured}
    kept = [key for key in old if key[0] in saes and key not in measured]
    lines += [f"{key} of {sae}: kept, for this run did not measure it" for sae, key in sorted(kept)]
    return [line for line in lines if line]


def _change(old: Entry | None, new: Entry) -> str:
    sae, key = new.key
    if old is None:
        return f"{key} of {sae}: {number(new.value)} is new"
    if old.value != new.value:
        moved = difference(new.value, old.value)
        return f"{key} of {sae}: {number(old.value)} becomes {number(new.value)} ({moved})"
    differs = differences(old.fingerprints, new.fingerprints)
    return f"{key} of {sae}: {number(new.value)} stays, {'; '.join(differs)}" if differs else ""
