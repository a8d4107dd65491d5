"""Progress: a bar where somebody watches, lines where nobody does, nothing under -q."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_sae.run.progress import Progress, noted
from tests.plugin.project import Project

SLOW = """
import time
from pathlib import Path
from conftest import PROGRESS
for done in range(1, 6):
    PROGRESS[0]("encoding", done, 5)
    time.sleep(0.8)
return [Estimate("l0", 33.0)]
"""
TESTS = """
import pytest
@pytest.mark.sae_metric("l0")
def test_core(core, gate, metric):
    gate(core[metric])
"""
LINE = re.compile(r"^pytest-sae: 0% of 1 tests; a \(1 of 1\): core, encoding [1-4]/5\r?$", re.M)


@pytest.fixture(autouse=True)
def desk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that can wipe a line, on no CI service."""
    monkeypatch.setenv("CI", "false")
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def slow(project: Project) -> Project:
    """A project whose one SAE is encoded for four seconds."""
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
    return project


def in_a_terminal(project: Project, *args: str) -> str:
    """Run pytest with a terminal for its output, and return what it wrote there."""
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
    slow: Project, args: tuple[str, ...]
) -> None:
    written = in_a_terminal(slow, *args)
    assert re.search(r"\ra \(1 of 1\): core, encoding [34]/5 +0%\|", written)
    bars = re.findall(r"\ra \(1 of 1\): core[^\r\n]*", written)
    wiped = written.rpartition(bars[-1])[2]
    assert re.match(r"\r +\r", wiped)
    assert "1 passed" in wiped


def test_what_is_fast_is_not_shown(project: Project) -> None:
    assert "%|" not in in_a_terminal(project)


@pytest.mark.parametrize("args", [("-q",), ("--sae-progress=off",)])
def test_nothing_is_shown_where_nobody_wants_to_know(slow: Project, args: tuple[str]) -> None:
    assert "encoding" not in in_a_terminal(slow, *args)


def test_the_workers_stages_are_told_in_lines_of_their_own(slow: Project) -> None:
    written = in_a_terminal(slow, "-n1", "--sae-progress=1")
    assert LINE.search(written)
    assert "\ra (1 of 1)" not in written


def test_no_line_is_written_into_the_dots_of_workers(slow: Project) -> None:
    slow.tests(f"def test_first(): pass\n{TESTS}")
    written = in_a_terminal(slow, "-n1", "--sae-progress=1")
    told = [line for line in written.splitlines() if "encoding" in line]
    assert told
    assert all(line.startswith("pytest-sae: 50% of 2 tests") for line in told)
    assert ".\r\npytest-sae: 50%" in written


@pytest.mark.parametrize(("name", "value"), [("CI", "1"), ("TERM", "dumb")])
def test_a_log_is_told_in_lines(
    slow: Project, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert LINE.search(in_a_terminal(slow, "--sae-progress=1"))


def test_what_is_no_terminal_is_told_in_lines_that_no_dot_stands_in(slow: Project) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "pytest_sae.plugin", "evals", "--sae=saes/a"]
    run = subprocess.run(
        [*command, "--sae-progress=1"], cwd=slow.path, capture_output=True, text=True, check=True
    )
    lines = LINE.findall(run.stdout)
    assert len(lines) >= 2
    assert "1 passed" in run.stdout


def test_a_log_is_told_nothing_before_the_time_is_over(slow: Project) -> None:
    assert "encoding" not in in_a_terminal(slow, "-n1")


@pytest.mark.parametrize("value", ["0", "often", "-1"])
def test_a_time_that_is_none_is_refused(project: Project, value: str) -> None:
    result = project.run(f"--sae-progress={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--sae-progress={value}: expected a whole number*"])


def test_a_worker_notes_its_stage_and_that_it_ended(tmp_path: Path) -> None:
    note = tmp_path / "gw0.json"
    progress = Progress(note)
    progress("encoding", 1, 3)
    stage = noted(note)
    assert stage is not None
    assert str(stage) == "encoding 1/3"
    progress("encoding", 3, 3)
    assert noted(note) is None


def test_a_worker_writes_its_note_at_most_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "gw0.json"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    progress = Progress(note)
    progress("encoding", 1, 3)
    progress("encoding", 2, 3)
    stage = noted(note)
    assert stage is not None
    assert stage.done == 1
