"""Going on with a run that was cut off: tests that came to their end are taken from its journal.

Ended(config).take(report) -> what the journal keeps of a test, once it has ended
inputs(run) -> what the results depend on, by name
earlier(run) -> its journal         # refused where the two runs are not one
ended(journal) -> reports by test
Replay(config, journal)             # a plugin of every process that runs tests
mixed(rows) -> problems             # rows that were not made with the same things
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_sae.errors import OptionError
from pytest_sae.run.journal import NAME, read_journal, set_aside
from pytest_sae.run.versions import versions

if TYPE_CHECKING:
    from pytest_sae.records.row import Row
    from pytest_sae.run.run import Run

# What may differ between two halves of a run: it changes no value.
_OWN = ("resume", "report", "cache", "cache_limit", "memory", "progress", "ci", "partial",
        "accept_regressions", "judge_timeout", "judge_concurrency", "asked")  # fmt: skip
#: Set on a report that was taken from a journal.
REPLAYED = "sae_replayed"


class Ended:
    """Reports of the tests that are running, until each has come to its end.

    Args:
        config: of the process that sees them.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._reports: dict[str, list[pytest.TestReport]] = {}

    def take(self, report: pytest.TestReport) -> list[dict[str, Any]] | None:
        """Return all reports of a test as builtins with its last one, None before.

        None too for a test whose setup failed, which a run that goes on tries again.
        """
        if report.when not in ("call", "teardown"):  # it begins, once more perhaps, or crashed
            self._reports[report.nodeid] = []
        self._reports.setdefault(report.nodeid, []).append(report)
        if report.when != "teardown":
            return None
        reports = self._reports.pop(report.nodeid)
        failed = any(each.failed for each in reports if each.when != "call")
        return None if failed else [self._told(each) for each in reports]

    def _told(self, report: pytest.TestReport) -> dict[str, Any]:
        plain = copy(report)
        vars(plain).pop("node", None)  # of xdist
        told: dict[str, Any] = self._config.hook.pytest_report_to_serializable(
            config=self._config, report=plain
        )
        return told


def earlier(run: Run) -> Path:
    """Return the journal of the run that this one goes on with, set aside.

    Args:
        run: whose options say where the reports go.

    Raises:
        OptionError: there is no journal, or it is of another run; what differs is named.
    """
    path = Path(run.options.report) / NAME
    expected = "Expected the report directory of the run to go on with: name it by --sae-report"
    if not path.is_file():
        raise OptionError(f"--sae-resume: {path} is not there. {expected}, or begin anew without.")
    events = read_journal(path)
    begun = events[0] if events else {}
    if begun.get("event") != "start" or "inputs" not in begun:
        raise OptionError(f"--sae-resume: {path} does not say how its run began. {expected}.")
    differing = list(_differing(begun, run))
    if differing:
        raise OptionError(
            f"--sae-resume: {path} is of another run. {'; '.join(differing)}. Expected the same: "
            "begin anew without --sae-resume."
        )
    return set_aside(path)


def ended(journal: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the reports of the tests that came to their end, by test.

    Args:
        journal: of an earlier run.
    """
    events = read_journal(journal)
    return {each["nodeid"]: each["reports"] for each in events if each["event"] == "test"}


def inputs(run: Run) -> dict[str, str]:
    """Return what the results of a run depend on, as marks by name: files, versions, options.

    Args:
        run: before its first test.
    """
    from pytest_sae.records.builtin import to_builtin

    options = to_builtin(asdict(run.options))
    named = {f"{each.file}": each.sha256 for each in run.foreseen_thresholds()}
    files = {"--sae-data": run.options.data, "--sae-baseline": run.options.baseline}
    return {
        **{f"option {name}": json.dumps(options[name]) for name in options if name not in _OWN},
        **{f"version of {name}": each for name, each in versions().items()},
        **named,
        **{name: mark for name, path in files.items() if (mark := _mark(path))},
        **{f"files of {spec.id}": _mark(spec.path) for spec in run.specs},
    }


def _mark(path: str | None) -> str:
    """A hash of a file; of a directory, of the sizes and times of what is in it; empty for none."""
    if path is None or not Path(path).exists():
        return ""
    if Path(path).is_file():
        return (
            hashlib.sha256(Path(path).read_bytes()).hexdigest()
            if path.endswith((".toml", ".json"))
            else _listed([Path(path)])
        )
    return _listed(sorted(each for each in Path(path).rglob("*") if each.is_file()))


def _listed(files: Sequence[Path]) -> str:
    told = [(str(each), (of := each.stat()).st_size, of.st_mtime_ns) for each in files]
    return hashlib.sha256(repr(told).encode(errors="backslashreplace")).hexdigest()


def _differing(begun: Mapping[str, Any], run: Run) -> Iterator[str]:
    before: Mapping[str, str] = begun["inputs"]
    now = inputs(run)
    for name in dict.fromkeys((*before, *now)):
        old, new = before.get(name, "nothing"), now.get(name, "nothing")
        if old == new:
            continue
        shown = name.startswith(("option ", "version of "))
        yield f"{name} was {old} and is {new}" if shown else f"{name} changed since"


class Replay:
    """Reports what an earlier run has measured instead of measuring it.

    Args:
        config: of the process.
        journal: of the earlier run.

    Attributes:
        tests: how many are not run again.
    """

    def __init__(self, config: pytest.Config, journal: Path) -> None:
        self._config = config
        self.journal = journal
        self._reports = ended(journal)
        self.tests = len(self._reports)
        self._changed_after = journal.stat().st_mtime

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Report a test as it ended, unless its file has been changed since."""
        told = self._reports.pop(item.nodeid, None)
        if told is None or item.path.stat().st_mtime > self._changed_after:
            return None
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for each in told:
            report = self._config.hook.pytest_report_from_serializable(
                config=self._config, data=dict(each)
            )
            setattr(report, REPLAYED, True)
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True


def mixed(rows: Sequence[Row]) -> list[str]:
    """Return what rows of one SAE were not made with alike: the two halves do not belong together.

    Args:
        rows: of a run that went on with an earlier one.
    """
    found: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        for kind in ("sae", "model", "site", "data", "suite"):
            if kind in row.fingerprints:
                found.setdefault((row.sae, kind), set()).add(row.fingerprints[kind])
    return [
        f"the {kind} of {sae} is not what it was in the run that this one goes on with: begin anew "
        "without --sae-resume"
        for (sae, kind), marks in found.items()
        if len(marks) > 1
    ]
