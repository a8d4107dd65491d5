"""The ledger: every collected test must end in a record, and every metric test in a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_sae.records.builtin import writable
from pytest_sae.run.nodeids import key_of_nodeid, sae_of_nodeid

if TYPE_CHECKING:
    # Records are imported where there are any: a ledger is kept in every run of pytest.
    from pytest_sae.records.report import Notable
    from pytest_sae.records.row import Outcome, Row

_FINE = frozenset({"passed", "xfailed"})


@dataclass
class TestEntry:
    """What became of one test.

    Args:
        sae: id of its SAE, None for a test without.
        outcome: None while unknown.
        reason: first line of what went wrong.
        rows: what it measured.
    """

    sae: str | None = None
    outcome: Outcome | None = None
    reason: str = ""
    rows: list[Row] = field(default_factory=list)


class Ledger:
    """Expected tests against reported ones; knows nothing of pytest.

    Args:
        sae_ids: gives the ids of the run, to recognise a test by its id when its worker cannot
            tell any more; asked only then, for a run without SAEs need not resolve any.
    """

    def __init__(self, sae_ids: Callable[[], Sequence[str]]) -> None:
        self._sae_ids = sae_ids
        self.entries: dict[str, TestEntry] = {}

    def expect(self, nodeids: Iterable[str]) -> None:
        """Note tests that were collected; called once per worker, with the same ids."""
        for nodeid in nodeids:
            self.entries.setdefault(nodeid, TestEntry())

    def expects_metrics(self) -> bool:
        """Whether a collected test is one of ours by its id: it names an SAE and a metric."""
        return any(self._by_id(nodeid) for nodeid in self.entries)

    def about_saes(self) -> list[str]:
        """Return the collected tests that are about an SAE of the run."""
        ids = self._sae_ids()
        return [nodeid for nodeid in self.entries if sae_of_nodeid(nodeid, ids)]

    def started(self, nodeid: str, sae: str | None) -> None:
        """Note that a test is set up (again, if a plugin reruns it)."""
        self.entries[nodeid] = TestEntry(sae=sae)

    def finished(
        self, nodeid: str, sae: str | None, outcome: Outcome, reason: str, rows: Sequence[Row]
    ) -> None:
        """Note how a test ended, with what it measured."""
        entry = self.entries.setdefault(nodeid, TestEntry())
        entry.sae = sae or entry.sae
        # A teardown that passes changes nothing, one that fails adds to what came before it.
        entry.outcome, entry.reason = outcome, reason
        entry.rows += rows

    def crashed(self, nodeid: str, reason: str) -> Row | None:
        """Note that a worker died in a test; return the row that stands for what it was to do."""
        return self._lost(nodeid, reason, "crashed")

    def _lost(self, nodeid: str, reason: str, outcome: Outcome) -> Row | None:
        sae, key = self._by_id(nodeid) or (sae_of_nodeid(nodeid, self._sae_ids()), None)
        known = self.entries.get(nodeid, TestEntry()).sae
        row = _unmeasured(sae, key, reason, nodeid, outcome) if sae and key else None
        self.entries[nodeid] = TestEntry(known or (sae if key else None), outcome, reason)
        self.entries[nodeid].rows += [row] if row else []
        return row

    def close(self, stopped: bool) -> list[str]:
        """Give every test without a record its row; return their ids.

        Args:
            stopped: whether the run was stopped early, so that not all tests were to run.
        """
        reason = "not run: the run was stopped early" if stopped else "its report never arrived"
        missing = [nodeid for nodeid, entry in self.entries.items() if not entry.outcome]
        for nodeid in missing:
            self._lost(nodeid, reason, "missing")
        return missing

    @property
    def rows(self) -> list[Row]:
        """All rows, in the order of the report."""
        rows = [row for entry in self.entries.values() for row in entry.rows]
        return sorted(rows, key=lambda row: row.order)

    @property
    def ran_saes(self) -> bool:
        """Whether any test used an SAE."""
        return any(entry.sae for entry in self.entries.values())

    def red(self) -> bool:
        """Whether a row or a test with an SAE fails the run."""
        return any(row.red for row in self.rows) or any(
            entry.sae and entry.outcome not in _FINE and not _declined(entry)
            for entry in self.entries.values()
        )

    def ungated(self) -> list[str]:
        """Return the SAEs that no rule judged, sorted; what is unmeasured is red already."""
        ungated = {row.sae for row in self.rows if row.verdict == "ungated"}
        return sorted(ungated - {row.sae for row in self.rows if row.verdict != "ungated"})

    def declined(self, sae: str) -> str:
        """Return why nothing of an SAE was measured, empty where something was."""
        rows = [row for row in self.rows if row.sae == sae]
        return rows[0].reason if rows and all(row.declined for row in rows) else ""

    def tests(self) -> list[Notable]:
        """Return the tests to look at: without a record, or with an SAE and not simply passed."""
        from pytest_sae.records.report import Notable

        return [
            Notable(writable(nodeid), entry.sae, entry.outcome or "missing", entry.reason)
            for nodeid, entry in sorted(self.entries.items())
            if entry.outcome in ("missing", "crashed") or (entry.sae and _notable(entry))
        ]

    def _by_id(self, nodeid: str) -> tuple[str, str] | None:
        sae = sae_of_nodeid(nodeid, self._sae_ids())
        key = key_of_nodeid(nodeid, sae) if sae else None
        return (sae, key) if sae and key else None


def _unmeasured(sae: str, key: str, reason: str, nodeid: str, outcome: Outcome) -> Row:
    from pytest_sae.records.row import unmeasured_row

    return unmeasured_row(sae, key, reason, nodeid, outcome)


def _notable(entry: TestEntry) -> bool:
    return not _declined(entry) and (entry.outcome != "passed" or not entry.rows)


def _declined(entry: TestEntry) -> bool:
    """Whether a test was skipped because all that it measures is declared not to exist here."""
    declined = all(row.declined for row in entry.rows)
    return entry.outcome == "skipped" and bool(entry.rows) and declined
