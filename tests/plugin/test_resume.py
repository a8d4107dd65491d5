"""A run that was cut off is gone on with, and ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pytest_sae.records.row import unmeasured_row
from pytest_sae.run.journal import read_journal
from pytest_sae.run.resume import mixed
from tests.plugin.project import Project
from tests.plugin.test_stopped import wait_for

TESTS = """
import os, time
import pytest

@pytest.mark.sae_metric("scr", n=[0, 1, 2, 3])
def test_scr(scr, gate, metric):
    with open("ran.txt", "a") as file:
        file.write(metric + "\\n")
    if metric == "scr:n=2" and os.path.exists("wait"):
        time.sleep(300)
    gate(scr[metric])
"""
FAILS_AT_FIRST = """
import os
from pytest_sae import Estimate

def measure(family, sae):
    if os.path.exists("wait"):
        raise MemoryError("out of memory")
    return [Estimate(family, 0.5, {"n": n}) for n in range(4)]
"""
# What two runs may differ in, one of which was cut off.
OWN = {"started", "duration", "argv", "options", "work"}


@pytest.fixture
def slow(project: Project) -> Project:
    project.measures("return [Estimate(family, 0.1 + 0.2 * n, {'n': n}) for n in range(4)]")
    project.thresholds("[metrics.scr]\nmin = 0.2")
    project.tests(TESTS)
    return project


def finished(project: Project, *arguments: str) -> tuple[int, str]:
    run = project.start(*arguments)
    output = run.communicate(timeout=120)[0]
    return run.returncode, output


def killed(project: Project, *arguments: str) -> None:
    """Begin a run and kill it in its third test."""
    (project.path / "wait").touch()
    run = project.start(*arguments)
    wait_for(lambda: ended_tests(project) == 2, run)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    (project.path / "wait").unlink()
    (project.path / "ran.txt").unlink()


def ended_tests(project: Project) -> int:
    journal = project.path / "sae-report" / "journal.jsonl"
    events = read_journal(journal) if journal.exists() else []
    return sum(each["event"] == "test" for each in events)


def ran(project: Project) -> list[str]:
    return sorted((project.path / "ran.txt").read_text().split())


def comparable(report: dict[str, Any]) -> dict[str, Any]:
    told = {name: each for name, each in report.items() if name not in OWN}
    told["measurements"] = [
        # Here a process's number, and which worker came first.
        {name: each for name, each in row.items() if name not in ("seconds", "worker")}
        for row in report["measurements"]
    ]
    return told


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_killed_run_goes_on_and_ends_with_the_report_of_an_unbroken_one(
    slow: Project, workers: str
) -> None:
    killed(slow, workers)
    status, output = finished(slow, workers, "--sae-resume")
    assert status == pytest.ExitCode.TESTS_FAILED, output  # the first value is below its bound
    assert "resumed: 2 tests are taken from sae-report/journal-" in output, output
    assert ran(slow) == ["scr:n=2", "scr:n=3"]
    resumed = slow.report()
    assert (resumed["complete"], resumed["verdict"]) == (True, "fail")
    assert finished(slow, workers)[0] == status
    assert comparable(resumed) == comparable(slow.report())


def test_a_run_that_is_cut_off_twice_goes_on_twice(slow: Project) -> None:
    killed(slow, "-n0")
    (slow.path / "ran.txt").touch()
    killed(slow, "-n0", "--sae-resume")
    assert finished(slow, "-n0", "--sae-resume")[0] == pytest.ExitCode.TESTS_FAILED
    assert ran(slow) == ["scr:n=2", "scr:n=3"]
    assert slow.report()["complete"]


def test_a_part_that_was_cut_off_goes_on_where_it_was(slow: Project) -> None:
    killed(slow, "-n0", "-k", "scr")
    assert finished(slow, "-n0", "-k", "scr", "--sae-resume")[0] == pytest.ExitCode.TESTS_FAILED
    assert ran(slow) == ["scr:n=2", "scr:n=3"]
    assert slow.report()["complete"]
    assert not (slow.path / "sae-report" / "partial").exists()


def test_nothing_is_run_again_of_a_run_that_had_ended(slow: Project) -> None:
    finished(slow, "-n0")
    before = comparable(slow.report())
    (slow.path / "ran.txt").unlink()
    finished(slow, "-n0", "--sae-resume")
    assert not (slow.path / "ran.txt").exists()
    assert comparable(slow.report()) == before


def change_options(project: Project) -> list[str]:
    return ["--sae-seed=3"]


def change_bounds(project: Project) -> list[str]:
    project.thresholds("[metrics.scr]\nmin = 0.0")
    return []


def change_the_sae(project: Project) -> list[str]:
    (project.path / "saes" / "a" / "cfg.json").write_text('{"k": 9}')
    return []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (change_options, r"option seed was 0 and is 3"),
        (change_bounds, r"evals/thresholds.toml changed since"),
        (change_the_sae, r"files of a changed since"),
    ],
)
def test_a_run_of_something_else_is_no_second_half(slow: Project, change: Any, told: str) -> None:
    killed(slow, "-n0")
    status, output = finished(slow, "-n0", "--sae-resume", *change(slow))
    assert status == pytest.ExitCode.USAGE_ERROR
    assert told in output
    assert "begin anew without --sae-resume" in output
    assert not (slow.path / "ran.txt").exists()
    journal = slow.path / "sae-report" / "journal.jsonl"
    assert len(read_journal(journal)) > 2, "what it holds can still be gone on with"


def test_where_nothing_was_left_there_is_nothing_to_go_on_with(slow: Project) -> None:
    status, output = finished(slow, "-n0", "--sae-resume")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "journal.jsonl is not there" in output


def test_a_test_whose_file_was_changed_is_run_again(slow: Project) -> None:
    killed(slow, "-n0")
    [file] = Path(slow.path, "evals").glob("test_*.py")
    file.write_text(file.read_text() + "\n# changed\n")
    finished(slow, "-n0", "--sae-resume")
    assert ran(slow) == [f"scr:n={n}" for n in range(4)]


def test_a_test_that_could_not_be_set_up_is_tried_again(slow: Project) -> None:
    slow.write("measure.py", FAILS_AT_FIRST)
    (slow.path / "wait").touch()
    status, _ = finished(slow, "-n0")
    assert status == pytest.ExitCode.TESTS_FAILED
    (slow.path / "wait").unlink()
    status, output = finished(slow, "-n0", "--sae-resume")
    assert status == pytest.ExitCode.OK, output


def test_two_halves_that_were_made_with_other_things_are_red() -> None:
    def row(data: str) -> Any:
        from dataclasses import replace

        made = unmeasured_row("a", "scr", "", "test", "passed")
        return replace(made, fingerprints={"data": data, "code": data})

    assert mixed([row("x"), row("x")]) == []
    [told] = mixed([row("x"), row("y")])
    assert told.startswith("the data of a is not what it was")
