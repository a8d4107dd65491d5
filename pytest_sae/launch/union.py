"""One report of all tasks, those included that never came back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_sae.errors import MeasurementError, PytestSAEError
from pytest_sae.launch.node import fullest
from pytest_sae.launch.task import Task
from pytest_sae.records.report import NAME, Report
from pytest_sae.records.schema import builtins, checked, read_values, write_report
from pytest_sae.run.journal import read_journal
from pytest_sae.run.report_commands import merged


def united(
    tasks: Sequence[Task], lost: Mapping[Task, str], output: Path, argv: Sequence[str]
) -> tuple[str, int]:
    """Judge what came back by the one gate; what did not is a problem of the run, and named.

    Args:
        tasks: all of them.
        lost: why some did not come back.
        output: directory of the united report.
        argv: arguments of pytest that all of them were launched with.

    Returns:
        What is told, and the exit status of the gate.

    Raises:
        MeasurementError: none of them left a report.
    """
    for task in lost:
        _restore(task.home)
    problems = [f"{task.name} never came back: {why}" for task, why in lost.items()]
    there = [task.home for task in tasks if _read(task.home) is not None]
    if not there:
        raise MeasurementError("\n".join(["no task left a report:", *problems]))
    return merged(there, output, 0, problems, argv)


def _restore(home: Path) -> None:
    """Put what the journal has into a report that says that its run has not ended."""
    begun, journal = _read(home), fullest(home)
    if begun is not None and not begun.complete and journal is not None:
        rows = [each["row"] for each in read_journal(journal) if each["event"] == "row"]
        write_report(checked(Report, {**builtins(begun), "measurements": rows}), home)


def _read(home: Path) -> Report | None:
    try:
        return read_values(home / NAME)
    except PytestSAEError:
        return None
