"""A project of three SAEs, its run as a whole, and its launch in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pytest_sae.run.journal import read_journal
from tests.plugin.project import Project
from tests.timeless import without_times
from tests.whole import whole_report

SAES = ("a", "b", "c")
MEASURE = """
import json
values = {"a": 0.91, "b": 1 / 3, "c": 0.8}
if family == "core":
    return [
        Estimate("explained_variance", values[sae], se=0.01, n={"texts": 3},
                 influence=(0.5, -values[sae], 0.25)),
    ]
return [Estimate(family, values[sae] + n / 100, {"n": n}, se=0.02) for n in range(4)]
"""
TESTS = """
import os, time
import pytest

@pytest.mark.sae_metric("explained_variance")
def test_core(core, gate, metric):
    gate(core[metric])

@pytest.mark.sae_metric("scr", n=[0, 1, 2, 3])
def test_scr(scr, gate, metric, sae_spec):
    with open(f"process-{sae_spec.id}.txt", "w") as file:
        file.write(str(os.getpid()))
    with open(f"ran-{sae_spec.id}.txt", "a") as file:
        file.write(metric + "\\n")
    deadline = time.monotonic() + 300
    while metric == "scr:n=2" and os.path.exists(f"wait-{sae_spec.id}"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    gate(scr[metric])
"""
ARGUMENTS = ("-p", "xdist", "-p", "pytest_sae.plugin", "evals", "--sae=saes/*", "--sae-cache=off")
CLI = "import sys; from pytest_sae.cli import main; sys.exit(main())"


class Launched:
    """Files of the project, and ways to launch it."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.path = project.path
        for size, name in enumerate(SAES, 1):
            project.sae(name)
            project.write(f"saes/{name}/sae_weights.safetensors", "x" * size)
        project.measures(MEASURE)
        project.thresholds("[metrics.explained_variance]\nmin = 0.3\n[metrics.scr]\nmin = 0.4")
        project.tests(TESTS)

    def whole(self) -> dict[str, Any]:
        """The report of one unbroken run over all SAEs."""
        self.project.run_apart("--sae=saes/*", "--sae-report=whole", sae=None)
        for name in SAES:
            (self.path / f"ran-{name}.txt").unlink(missing_ok=True)
        return comparable(self.report("whole"))

    def start(
        self, *arguments: str, program: Sequence[str] = ("-c", CLI, "launch")
    ) -> subprocess.Popen[str]:
        """Launch it, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, *program, *ARGUMENTS, *arguments],
            cwd=self.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def here(self, *arguments: str) -> tuple[int, str]:
        """Launch it on no cluster, one task after the other."""
        program = ("-m", "tests.launch.here")
        return finished(self.start("--engine=ray", *arguments, program=program))

    def report(self, directory: str = "sae-report") -> dict[str, Any]:
        told: dict[str, Any] = whole_report(self.path / directory / "report.json")
        return told

    def wait(self, sae: str, go: bool = False) -> None:
        """Hold an SAE's evaluation in its fourth test, or let it go on."""
        path = self.path / f"wait-{sae}"
        path.unlink() if go else path.touch()

    def ran(self, sae: str) -> list[str]:
        """Which of the tests of an SAE were run, in order."""
        path = self.path / f"ran-{sae}.txt"
        return path.read_text().split() if path.exists() else []

    def held(self, sae: str) -> bool:
        """Whether an SAE waits in its fourth test, and the driver knows of the three before it."""
        return self.ran(sae)[-1:] == ["scr:n=2"] and self.ended_tests(sae) == 3

    def runs(self, sae: str) -> bool:
        """Whether the process still runs that last evaluated an SAE."""
        process = (self.path / f"process-{sae}.txt").read_text()
        try:
            return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    def home(self, sae: str) -> Path:
        return next((self.path / "sae-report" / "tasks").glob(f"?-{sae}"))

    def ended_tests(self, sae: str) -> int:
        """How many tests of an SAE have ended, as far as the driver knows."""
        journal = next(self.path.glob(f"sae-report/tasks/?-{sae}/journal.jsonl"), None)
        events = read_journal(journal) if journal else []
        return sum(each["event"] == "test" for each in events)


def wait_for(ready: Callable[[], bool], run: subprocess.Popen[str]) -> None:
    """Wait for what a launch does; a machine that is busy starts its processes slowly."""
    deadline = time.monotonic() + 240
    while not ready():
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finished(run: subprocess.Popen[str]) -> tuple[int, str]:
    output = run.communicate(timeout=240)[0]
    return run.returncode, output


def comparable(report: dict[str, Any]) -> dict[str, Any]:
    """A report without what differs from run to run, and how it was called."""
    told = without_times(report)
    told["options"] = {
        name: each
        for name, each in told["options"].items()
        if name not in ("cache", "ci", "resume", "sae", "report")
    }
    return told
