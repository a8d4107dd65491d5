"""A disk that is full, at each place where something is written: a sentence, and never green."""

from __future__ import annotations

import json

import pytest

from tests.plugin.project import MEASURE, Project

# From the moment that a hook is called, every write to such a file fails as on a full disk.
FULL = """
import errno, os, pathlib
import pytest

def fail(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

def fill():
    if {journal}:
        os.fsync = fail
    if {report}:
        real = pathlib.Path.write_text
        def write(self, *args, **kwargs):
            if self.name.startswith({names!r}):
                real(self, "half")
                fail()
            return real(self, *args, **kwargs)
        pathlib.Path.write_text = write

@pytest.hookimpl(tryfirst=True)
def {hook}:
    fill()
"""
AFTER_A_TEST = "pytest_runtest_logreport(report)"
AT_START = "pytest_configure(config)"
REPORT = (".report.json", ".report.md", ".report.html")


def fill(
    project: Project,
    hook: str,
    journal: bool = False,
    report: bool = False,
    names: tuple[str, ...] = REPORT,
) -> None:
    text = FULL.format(journal=journal, report=report, names=names, hook=hook)
    project.write("full.py", text)


def run(project: Project, *arguments: str) -> pytest.RunResult:
    return project.run_apart("-p", "full", *arguments)


def told(result: pytest.RunResult) -> str:
    text = result.stdout.str() + result.stderr.str()
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    return text


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
@pytest.mark.parametrize(("journal", "report"), [(True, False), (False, True)])
def test_a_disk_that_is_full_at_the_start_ends_the_run_before_it_measures(
    project: Project, journal: bool, report: bool, workers: str
) -> None:
    assert project.run_apart().ret == 0
    fill(project, AT_START, journal, report)
    result = run(project, workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR, told(result)
    assert "No space left on device. Make room there" in told(result)
    path = project.path / "sae-report" / "report.json"
    assert not path.exists() or project.report()["verdict"] != "pass"


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
@pytest.mark.parametrize(("journal", "report"), [(True, False), (False, True), (True, True)])
def test_a_disk_that_becomes_full_leaves_no_green_report(
    project: Project, journal: bool, report: bool, workers: str
) -> None:
    assert project.run_apart().ret == 0
    fill(project, AFTER_A_TEST, journal, report)
    result = run(project, workers)
    assert result.ret == 1, told(result)
    assert "No space left on device. Make room there" in told(result)
    assert "SAE gate: incomplete" in result.stdout.str()
    # What was measured is shown all the same.
    result.stdout.fnmatch_lines(["a * 0.91  32.5"])
    found = project.report()
    assert (found["verdict"], found["complete"]) == ("incomplete", False)
    assert [each.name for each in (project.path / "sae-report").glob(".*")] == []


@pytest.mark.parametrize("name", REPORT)
def test_whichever_file_is_the_one_that_does_not_fit(project: Project, name: str) -> None:
    fill(project, AFTER_A_TEST, report=True, names=(name,))
    result = run(project)
    assert result.ret == 1, told(result)
    assert project.report()["verdict"] == "incomplete"


def test_a_baseline_that_does_not_fit_stays_as_it_was(project: Project) -> None:
    flags = ["--sae-baseline=base.json", "--sae-baseline-update"]
    assert project.run_apart(*flags).ret == 0
    before = (project.path / "base.json").read_text()
    project.write("measure.py", MEASURE.replace("0.91,", "0.95,"))
    fill(project, AFTER_A_TEST, report=True, names=(".base.json",))
    result = run(project, *flags)
    assert result.ret == 1, told(result)
    assert "base.json cannot be written: No space left on device" in told(result)
    assert project.report()["verdict"] == "incomplete"
    assert (project.path / "base.json").read_text() == before


def test_a_journal_that_was_cut_off_is_read_to_there(project: Project) -> None:
    fill(project, AFTER_A_TEST, journal=True)
    run(project)
    lines = (project.path / "sae-report" / "journal.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["event"] == "start"
