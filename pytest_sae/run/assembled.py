"""The report of a run, assembled from what the controller has heard of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_sae.gate.whole_run import run_verdict
from pytest_sae.records.audit import Audit
from pytest_sae.records.builtin import to_builtin, writable
from pytest_sae.records.plan import Plan
from pytest_sae.records.provenance import united
from pytest_sae.records.report import SAE, SCHEMA_VERSION, Report, Shard, ThresholdsFile
from pytest_sae.records.schema import builtins, checked
from pytest_sae.run.ledger import Ledger
from pytest_sae.run.run import Run, shown_path
from pytest_sae.run.versions import versions


@dataclass(frozen=True)
class Heard:
    """What tests and workers told the controller, beside what stands in its ledger.

    Args:
        started: when the run began, in seconds since the epoch.
        described: what each worker says about itself, by worker.
        thresholds: sha256 of each file of bounds that was used.
        audits: what was found on each audited world.
    """

    started: float
    described: Mapping[str, Mapping[str, Any]]
    thresholds: Mapping[str, str]
    audits: Sequence[Mapping[str, Any]]


def assembled(
    run: Run,
    ledger: Ledger,
    plan: Plan,
    heard: Heard,
    status: int,
    complete: bool,
    problems: Sequence[str],
) -> Report:
    """Return the report of a run, as far as it has come.

    Args:
        run: that it is of.
        ledger: what became of its tests.
        plan: what it had to judge.
        heard: the rest of what is known.
        status: pytest's exit status, -1 while there is none.
        complete: whether everything was measured that was to be.
        problems: what is amiss, a sentence each.
    """
    report = _gathered(run, ledger, plan, heard, status, complete, problems)
    # Once for all that is drawn of it: a name that is no UTF-8 could not be written.
    return checked(Report, builtins(report))


def with_update(
    run: Run, report: Report, influence: Mapping[tuple[str, str], Sequence[float]]
) -> Report:
    """Update the baseline, if the run is to.

    Args:
        run: whose options say whether.
        report: of all of it; nothing is updated if it is not complete.
        influence: what each unit adds to the error of a value, by SAE and key.

    Returns:
        The report, with what was changed.

    Raises:
        OSError: the baseline cannot be written.
    """
    if not run.options.update or not report.complete:
        return report
    from pytest_sae.run.update import update

    try:
        changed = update(run, report.measurements, influence)
    except OSError as error:
        # Not the report, whose place is told otherwise.
        raise OSError(error.errno, error.strerror, run.options.baseline) from None
    return replace(report, update=changed)


def _gathered(
    run: Run,
    ledger: Ledger,
    plan: Plan,
    heard: Heard,
    status: int,
    complete: bool,
    problems: Sequence[str],
) -> Report:
    rows, tests = tuple(ledger.rows), tuple(ledger.tests())
    described = united(heard.described)
    return Report(
        schema_version=SCHEMA_VERSION,
        complete=complete,
        verdict=run_verdict(rows, tests, problems, run.options.gate, plan),
        problems=tuple(problems),
        exit_status=status,
        started=datetime.fromtimestamp(heard.started, UTC).isoformat(timespec="seconds"),
        duration=round(time.time() - heard.started, 3),
        argv=tuple(writable(str(arg)) for arg in run.config.invocation_params.args),
        versions=versions(),
        options=to_builtin(dataclasses.asdict(run.options)),
        thresholds=tuple(
            ThresholdsFile(name, digest) for name, digest in sorted(heard.thresholds.items())
        ),
        saes=tuple(_saes(run)),
        shard=_shard(run),
        update=None,
        measurements=rows,
        tests=tests,
        environment=described.environment,
        models=described.models,
        data=described.data,
        work=described.work,
        audit=_audit(run, heard.audits) if complete and heard.audits else None,
        plan=plan,
    )


def _saes(run: Run) -> Iterable[SAE]:
    for spec in run.specs:
        yield SAE(spec.id, shown_path(run.config, Path(spec.path)), spec.text)


def _shard(run: Run) -> Shard | None:
    if run.options.shard is None:
        return None
    from pytest_sae.run.shard import parse_shard

    which, count = parse_shard(run.options.shard)
    return Shard(which, count, tuple(each.id for each in run.all_specs))


def _audit(run: Run, audits: Sequence[Mapping[str, Any]]) -> Audit:
    from pytest_sae.audit.summary import audit_record
    from pytest_sae.run.audited_worlds import SIZE

    return checked(Audit, audit_record(SIZE[run.options.suite], audits))
