"""A run that is told to stop writes what it measured, and is not green."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.plugin.project import Project

SLOW = """
import time
import pytest

@pytest.mark.sae_metric("scr", n=[0, 1, 2, 3])
def test_scr(scr, gate, metric):
    if metric == "scr:n=2":
        time.sleep(300)
    gate(scr[metric])
"""


def started(project: Project, *arguments: str) -> subprocess.Popen[str]:
    project.measures("return [Estimate(family, 0.5, {'n': n}) for n in range(4)]")
    project.thresholds("[metrics.scr]\nmin = 0.1")
    project.tests(SLOW)
    return project.start(*arguments)


def rows(project: Project) -> list[dict[str, Any]]:
    journal = project.path / "sae-report" / "journal.jsonl"
    events = map(json.loads, journal.read_text().splitlines()) if journal.exists() else ()
    return [event["row"] for event in events if event["event"] == "row"]


def wait_for(ready: Callable[[], bool], run: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_stopped_run_reports_what_its_journal_has(
    project: Project, name: str, workers: str
) -> None:
    if signal.getsignal(signal.Signals[name]) is signal.SIG_IGN:
        pytest.skip("these tests were started to outlive it, by nohup, and so is what they start")
    run = started(project, workers)
    wait_for(lambda: len(rows(project)) == 2, run)
    os.kill(run.pid, getattr(signal, name))
    output = run.communicate(timeout=60)[0]
    assert run.returncode == pytest.ExitCode.INTERRUPTED, output
    report = project.report()
    assert (report["complete"], report["verdict"]) == (False, "incomplete")
    verdicts = project.verdicts()
    assert {key: verdicts[key] for key in ("a scr 0", "a scr 1")} == {
        "a scr 0": "pass",
        "a scr 1": "pass",
    }
    assert {verdicts["a scr 2"], verdicts["a scr 3"]} == {"unmeasured"}
    if name != "SIGINT":
        assert f"the run was stopped by {name}" in output
        assert f"the run was stopped by {name}" in report["problems"]


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_who_presses_ctrl_c_twice_does_not_wait_and_gets_nothing_green(
    project: Project, workers: str, pause: float
) -> None:
    assert project.run_apart().ret == 0  # a green report is there already
    run = started(project, workers)
    wait_for(lambda: len(rows(project)) == 2, run)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    time.sleep(pause)
    os.killpg(run.pid, signal.SIGINT)
    output = run.communicate(timeout=60)[0]
    assert run.returncode != 0, output
    assert len(rows(project)) >= 2
    report = project.path / "sae-report" / "report.json"
    assert not report.exists() or project.report()["verdict"] != "pass", output


def test_a_run_whose_workers_are_stopped_with_it_reports_what_its_journal_has(
    project: Project,
) -> None:
    run = started(project, "-n2")
    wait_for(lambda: len(rows(project)) == 2, run)
    os.killpg(run.pid, signal.SIGTERM)
    output = run.communicate(timeout=60)[0]
    assert run.returncode != 0, output
    assert project.report()["verdict"] == "incomplete"
    assert {project.verdicts()[f"a scr {n}"] for n in (0, 1)} == {"pass"}


def test_a_handler_of_somebody_else_is_left_alone(project: Project) -> None:
    project.write(
        "conftest_more.py",
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: print('theirs', flush=True))\n",
    )
    run = started(project, "-s", "-p", "conftest_more")
    wait_for(lambda: len(rows(project)) == 2, run)
    os.kill(run.pid, signal.SIGTERM)
    time.sleep(0.5)
    assert run.poll() is None
    run.kill()
    assert "theirs" in run.communicate()[0]
