"""Progress: one line where somebody watches, nothing anywhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin.project import Project

SLOW = """
import time
from conftest import PROGRESS
for done in range(1, 6):
    PROGRESS[0]("encoding", done, 5)
    time.sleep(0.25)
return [Estimate("l0", 33.0)]
"""
TESTS = """
import pytest
@pytest.mark.sae_metric("l0")
def test_core(core, gate, metric):
    gate(core[metric])
"""


def in_a_terminal(project: Project, *args: str) -> str:
    """Run pytest with a terminal for its output, and return what it wrote there."""
    conftest = (project.path / "conftest.py").read_text()
    line = "        self.options, self.loads = options, []\n"
    assert line in conftest
    conftest = "PROGRESS = []\n" + conftest.replace(
        line, line + "        PROGRESS.append(progress)\n"
    )
    (project.path / "conftest.py").write_text(conftest)
    project.measures(SLOW)
    project.tests(TESTS)
    project.thresholds("[metrics.l0]\nmin = 20\n")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pytest", "-p", "xdist", "-p", "pytest_sae.plugin", *args]
    run = subprocess.Popen(
        [*command, "evals", "--sae=saes/a"], cwd=project.path, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    written = _all(ours)
    assert run.wait() == 0, written
    return written


def _all(descriptor: int) -> str:
    chunks = []
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # Linux says so when the other end is closed.
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(descriptor)
    return b"".join(chunks).decode()


@pytest.mark.parametrize("args", [(), ("-v",), ("-s",), ("--capture=sys",)])
def test_a_long_step_is_shown_on_one_line_and_wiped_away(
    project: Project, args: tuple[str, ...]
) -> None:
    written = in_a_terminal(project, *args)
    assert "\rencoding 1/5" in written
    assert "\rencoding 4/5" in written
    assert "encoding 5/5" not in written
    wiped = written.rpartition("encoding 4/5")[2]
    assert wiped.startswith("\r" + " " * len("encoding 4/5") + "\r")
    assert "1 passed" in wiped


def test_nothing_is_shown_under_quiet(project: Project) -> None:
    assert "encoding" not in in_a_terminal(project, "-q")


def test_nothing_is_shown_by_workers(project: Project) -> None:
    assert "encoding" not in in_a_terminal(project, "-n1")


def test_nothing_is_shown_in_ci(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "1")
    assert "encoding" not in in_a_terminal(project)


def test_nothing_is_shown_where_there_is_no_terminal(project: Project) -> None:
    project.write("progress.txt", "")
    result = project.run()
    assert "/5" not in result.stdout.str()
    assert Path(project.path / "sae-report/report.json").exists()
