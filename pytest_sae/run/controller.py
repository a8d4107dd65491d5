"""The controller's side: the ledger, the journal and the reports; one per run, in no worker."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_sae.errors import PytestSAEError
from pytest_sae.records.builtin import writable
from pytest_sae.run.attaching import outcome_of, received, sae_of, sendable
from pytest_sae.run.journal import Journal
from pytest_sae.run.ledger import Ledger
from pytest_sae.run.narrowed import narrowed
from pytest_sae.run.previous_report import ONLY_SHOWN, PreviousReport
from pytest_sae.run.run import Run, shown_path
from pytest_sae.run.stopping import Stopping

if TYPE_CHECKING:
    # What a report is made of is imported where there is one: no other run of pytest needs it.
    from pytest_sae.records.plan import Plan
    from pytest_sae.records.report import Report
    from pytest_sae.records.row import Row
    from pytest_sae.run.resume import Ended

# What the first line of the journal says.
_KNOWN_AT_ONCE = ("started", "argv", "options", "saes", "shard", "update", "plan")
_BROKEN_OFF = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
_ENDED_BY_ITSELF = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


class Controller:
    """Hooks of the process that sees every report, with and without xdist."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._config = run.config
        self._ledger = Ledger(lambda: run.sae_ids)
        self._journal: Journal | None = None
        self._described: dict[str, dict[str, Any]] = {}
        self._started = time.time()
        self._report: Report | None = None
        self._thresholds: dict[str, str] = {}
        self._influence: dict[tuple[str, str], list[float]] = {}
        self._audits: list[dict[str, Any]] = []
        self._uncollected: list[str] = []
        self._directory = Path(run.options.report)
        self._broken = False
        # Until tests are to be called, none can be missing: --collect-only, --fixtures, ...
        self._idle = True
        self._stopping = Stopping()
        self._unsaved = ""
        self._ended: Ended | None = None
        self._previous = PreviousReport.of(run.config, self._directory)
        self._began = False

    def pytest_sessionstart(self) -> None:
        """Set an older report aside, if that was not done when the command line was read."""
        if not self._only_shown() and self._run.options.asked:
            from pytest_sae.run.in_time import refuse_in_time

            refuse_in_time(self._config, self._run.options)
        self._began = True
        whole = not self._only_shown() and not narrowed(self._config)
        if whole and self._run.expects_sae_tests():
            self._previous.set_aside()

    def _only_shown(self) -> bool:
        return any(self._config.getoption(name, False) for name in ONLY_SHOWN)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Begin: note what was collected, if this process did collect (without xdist)."""
        self._idle = self._only_shown()
        self._expect([item.nodeid for item in session.items])
        if not self._idle and any(sae_of(item) for item in session.items):
            self._open()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Note what was collected, with xdist: the controller never collects."""
        self._expect(ids)
        if not self._idle and self._ledger.expects_metrics():
            self._open()

    def _expect(self, nodeids: Sequence[str]) -> None:
        if not self._idle:
            self._ledger.expect(nodeids)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note what could not be collected, and what was skipped as a whole."""
        if report.failed or report.skipped:
            how = "could not be collected" if report.failed else "was skipped"
            told = f"{report.nodeid or 'the collection'} {how}: {_first_line(report)}"
            self._uncollected += [told] if told not in self._uncollected else []
            self._broken = self._broken or report.failed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the rows off a report and put them on disk."""
        if self._idle:
            return
        sae = getattr(report, "sae", None)
        audited = getattr(report, "sae_audit", None)
        if sae is not None or audited is not None:
            self._open()
        if audited is not None:
            self._audits.append(audited)
            self._append("audit", audit=audited)
        if report.when not in ("setup", "call", "teardown"):
            row = self._ledger.crashed(report.nodeid, "the worker died while running this test")
            self._write([row] if row else [])
        elif report.when == "setup" and report.passed:
            self._ledger.started(report.nodeid, sae)
        elif report.when != "teardown" or report.failed:
            self._finished(report, sae)
        if sae is not None or audited is not None:
            self._keep(report)

    def _keep(self, report: pytest.TestReport) -> None:
        """Write a test that has ended to the journal, for a run that goes on with this one."""
        from pytest_sae.records.provenance import unite
        from pytest_sae.run.resume import REPLAYED, Ended

        self._ended = self._ended or Ended(self._config)
        if getattr(report, REPLAYED, False) and hasattr(report, "sae_described"):
            # Of several workers, each of which knows its own SAEs.
            unite(self._described.setdefault("earlier", {}), json.loads(report.sae_described))
        reports = self._ended.take(report)
        # What another plugin put on a report may be no JSON: such a test is run again.
        with contextlib.suppress(TypeError, ValueError):
            if reports is not None:
                self._append("test", nodeid=report.nodeid, reports=reports)

    def _finished(self, report: pytest.TestReport, sae: str | None) -> None:
        rows = received(report)
        self._thresholds |= getattr(report, "sae_thresholds", {})
        told = getattr(report, "sae_influence", [])
        self._influence |= {(sae, key): influence for sae, key, influence in told}
        self._ledger.finished(report.nodeid, sae, outcome_of(report), _first_line(report), rows)
        self._write(rows)

    def _open(self) -> None:
        """Begin the journal, and replace an older report, which a killed run must not leave."""
        if self._journal is None:
            from pytest_sae.records.schema import builtins
            from pytest_sae.run.resume import inputs
            from pytest_sae.run.told_once import ToldOnce

            self._config.pluginmanager.register(ToldOnce(self._config), "sae-told-once")
            self._stopping.listen()
            self._directory = _directory(self._directory, self._plan, self._run.argv)
            begun = self._assembled(-1, complete=False, problems=["the run has not ended"])
            told = builtins(begun)
            try:
                self._journal = Journal(self._directory)
                known = {name: told[name] for name in _KNOWN_AT_ONCE}
                self._journal.append("start", **known, inputs=inputs(self._run))
                self._write_files(begun)
            except OSError as error:
                raise pytest.UsageError(_unwritable(self._directory, error)) from None

    def _write(self, rows: Sequence[Row]) -> None:
        for told in sendable(rows):
            self._append("row", row=told)

    def _append(self, event: str, **said: object) -> None:
        if self._journal is None or self._unsaved:
            return
        try:
            self._journal.append(event, **said)
        except OSError as error:
            # What is measured from here on is still judged, and told at the end.
            self._unsaved = _unwritable(self._journal.path, error)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker says about itself."""
        described = getattr(node, "workeroutput", {}).get("sae")
        if described is not None:
            self._described[node.gateway.id] = json.loads(described)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Decide, write the reports, and make the exit status say what they say.

        First, so that the JUnit file, which pytest writes in this hook, gets the verdict.
        """
        if self._idle:
            self._put_back(session)
            return
        self._stopping.finish()
        status = int(session.exitstatus)
        stopped = self._was_stopped(session)
        problems = self._problems(status, stopped)
        problems += self._refused_update(stopped, problems)
        red = bool(problems) or (self._run.options.gate and self._ledger.red())
        red = red or self._refused_part()
        if red and status == pytest.ExitCode.OK:
            session.exitstatus = status = int(pytest.ExitCode.TESTS_FAILED)
        if self._journal is not None:
            whole = not stopped and not problems and not self._partial()
            self._end(status, complete=whole, problems=problems)
            if self._unsaved and status == pytest.ExitCode.OK:
                session.exitstatus = int(pytest.ExitCode.TESTS_FAILED)
        else:
            # Nothing here was about an SAE: the older report is not of this run's kind.
            self._put_back(session)
            self._complain(problems)

    def _put_back(self, session: pytest.Session) -> None:
        """Put the older report back, unless this run was to replace it and broke off."""
        broken = self._broken or session.exitstatus in _BROKEN_OFF
        if self._only_shown() or not broken:
            self._previous.put_back()

    def _was_stopped(self, session: pytest.Session) -> bool:
        if session.exitstatus not in _ENDED_BY_ITSELF:
            return True
        return bool(session.shouldstop or session.shouldfail)

    def _problems(self, status: int, stopped: bool) -> list[str]:
        missing = self._ledger.close(stopped)
        problems = self._unjudged(missing) if self._journal is not None else []
        problems += [self._unsaved] if self._unsaved else []
        if self._stopping.told:
            problems.append(f"the run was stopped by {self._stopping.told}")
        problems += self._without_tasks() if self._ledger.rows else []
        problems += self._mixed() if self._run.options.resume else []
        asked = bool(self._config.getoption("sae"))
        if asked and not self._ledger.ran_saes and status == pytest.ExitCode.OK:
            problems.append("--sae was given, but no test that ran uses an SAE")
        return problems

    def _unjudged(self, missing: Sequence[str]) -> list[str]:
        """Say which tests left no record, what could not be collected, what was not judged."""
        from pytest_sae.gate.whole_run import left_out

        problems = self._uncollected if self._broken else []
        if missing:
            told = f"{len(missing)} collected tests left no record, such as {missing[0]}"
            return [told, *problems]
        if not self._run.options.gate or self._partial():
            return [*problems]
        left = left_out(self._plan, self._ledger.rows)
        return [*problems, *(self._explained(each) for each in left)]

    def _without_tasks(self) -> list[str]:
        from pytest_sae.gate.whole_run import unusable

        return unusable(self._ledger.rows)

    def _mixed(self) -> list[str]:
        from pytest_sae.run.resume import mixed

        return mixed(self._ledger.rows)

    def _refused_update(self, stopped: bool, problems: Sequence[str]) -> list[str]:
        if self._run.options.update is None or self._journal is None:
            return []
        from pytest_sae.run.update import refusal, unasked, worse

        part = f"only a part was run ({' '.join(self._plan.narrowed)})" if self._partial() else ""
        why = part or refusal(self._ledger.rows, self._ledger.tests(), stopped, problems)
        options = self._run.options
        if not why and options.ci and not options.accept_regressions:
            why = unasked(worse(self._run, self._ledger.rows, self._influence))
        return [f"the baseline was not updated: {why}"] if why else []

    @cached_property
    def _plan(self) -> Plan:
        """What the run must judge, as far as is known before its first test."""
        from pytest_sae.gate.planned import planned
        from pytest_sae.records.plan import NOTHING

        run, tests = self._run, self._ledger.about_saes()
        if not run.options.gate or not tests:
            return NOTHING
        baseline = None if run.options.update else run.compared
        files = run.thresholds_in_force(tests)
        chosen = narrowed(self._config)
        return planned(run.sae_ids, files, baseline, chosen, run.options.require)

    def _partial(self) -> bool:
        """Whether the user left out some of what there is to judge."""
        plan = self._plan
        return bool(plan.narrowed and plan.left(self._ledger.rows))

    def _refused_part(self) -> bool:
        """Whether a part of the plan is not enough here: in CI, unless that was asked for."""
        options = self._run.options
        opened = self._journal is not None
        return opened and options.ci and not options.partial and self._partial()

    def _explained(self, told: str) -> str:
        """Say why nothing judged an SAE, or a rule, where that is known."""
        for sae in self._run.sae_ids:
            if told == f"no metric of {sae} was judged":
                return f"{told}: {self._ledger.declined(sae) or self._unruled()}"
        return f"{told} ({'; '.join(self._uncollected)})" if self._uncollected else told

    def _unruled(self) -> str:
        files = ", ".join(sorted(self._thresholds)) or "the thresholds file"
        return f"{files} has no rule for what was measured, or --sae-no-gate is missing"

    def _complain(self, problems: Sequence[str]) -> None:
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        for problem in problems if reporter else ():
            reporter.write_line(f"pytest-sae: {problem}", red=True)

    def _end(self, status: int, complete: bool, problems: list[str]) -> None:
        from pytest_sae.reports.junit import add_to_junit
        from pytest_sae.reports.write import publish
        from pytest_sae.run.assembled import with_update

        assert self._journal is not None
        description = self._run.describe()
        if description is not None:
            self._described["main"] = description
        try:
            report = self._assembled(status, complete, problems)
            report = with_update(self._run, report, self._influence)
            publish(report)
            self._write_files(report)
            self._previous.discard()
        except OSError as error:
            self._unsaved = _unwritable(Path(error.filename or self._directory), error)
            report = self._assembled(status or 1, False, [*problems, self._unsaved])
        self._append("end", exit_status=report.exit_status, verdict=report.verdict)
        self._journal.close()
        self._report = report
        add_to_junit(self._config, report)

    def _assembled(self, status: int, complete: bool, problems: list[str]) -> Report:
        from pytest_sae.run.assembled import Heard, assembled

        heard = Heard(self._started, self._described, self._thresholds, self._audits)
        return assembled(self._run, self._ledger, self._plan, heard, status, complete, problems)

    def _write_files(self, report: Report) -> None:
        from pytest_sae.reports.write import write_all

        write_all(report, self._directory, self._influence)

    def pytest_unconfigure(self) -> None:
        """Give signals back, and the older report where no session began."""
        self._stopping.restore()
        if not self._began:
            self._previous.put_back()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the table, and on GitHub the annotations."""
        if self._report is None:
            return
        from pytest_sae.reports.github import workflow_commands
        from pytest_sae.reports.terminal import write_terminal

        write_terminal(terminalreporter, self._report, self._shown_directory())
        for line in workflow_commands(self._report, os.environ):
            terminalreporter.write_line(line)

    def _shown_directory(self) -> str:
        return shown_path(self._config, self._directory)


def _directory(asked: Path, plan: Plan, argv: Sequence[str]) -> Path:
    """Return where the reports go: those of a part replace none but those of the same part."""
    from pytest_sae.records.report import NAME
    from pytest_sae.records.schema import read_values

    if not plan.narrowed or not (asked / NAME).is_file():
        return asked
    try:
        there = read_values(asked / NAME)
        same = bool(there.plan.narrowed) and _of_part(there.argv) == _of_part(map(writable, argv))
    except PytestSAEError:
        same = False  # not ours to judge, and so not ours to replace
    return asked if same else asked / "partial"


def _of_part(argv: Iterable[str]) -> list[str]:
    """What a part is known by: a run that goes on with it is of the same part."""
    return [each for each in argv if each != "--sae-resume"]


def _unwritable(path: Path, error: OSError) -> str:
    return (
        f"{path} cannot be written: {error.strerror}. Make room there, or choose another directory "
        "for reports with --sae-report=DIR."
    )


def _first_line(report: pytest.TestReport | pytest.CollectReport) -> str:
    if hasattr(report, "wasxfail"):
        return f"xfail: {report.wasxfail}"
    crash = getattr(report.longrepr, "reprcrash", None)
    # A skip has file, line and reason in place of a traceback.
    skip = report.longrepr[2] if isinstance(report.longrepr, tuple) else None
    text = crash.message if crash is not None else str(skip or report.longrepr or "")
    return writable(next(iter(text.splitlines()), ""))
