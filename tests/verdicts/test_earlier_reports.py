"""The green report of an earlier run, and a run that breaks off: nothing stays green.

A run that breaks off before it measures anything leaves no report.json, and no verdict in a JUnit
file; then `merge` and `compare` say so, and exit with 2.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_sae.cli import main
from tests.plugin.project import Project
from tests.plugin.test_full_disk import AFTER_A_TEST, AT_START, fill
from tests.verdicts.places import CORE, RULES, everywhere, good_report

KILL = "import os\nos._exit(9)\n"
STOP = "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n"
#: Exit statuses after which pytest has not written its JUnit file.
KILLED = (9, -15)
INTERNAL = "def pytest_collection_modifyitems(): raise RuntimeError('no')"


@dataclass(frozen=True)
class Break:
    """How a run breaks off.

    Args:
        status: its exit status.
        files: of the project.
        verdict: of the report that it leaves, empty where it leaves none.
        full: whose writing fails, and from when on.
        apart: in a process of its own.
    """

    status: int
    files: dict[str, str]
    verdict: str = ""
    full: tuple[str, bool, bool] | None = None
    apart: bool = True


def in_a_test(body: str) -> dict[str, str]:
    lines = body.replace("\n", "\n    ").rstrip()
    return {"evals/test_zz.py": f"def test_zz(sae):\n    {lines}\n"}


def told_by_junit(path: Path) -> str | None:
    """The verdict of the suite, None where there is none, or no file."""
    root = ET.parse(path).getroot() if path.exists() else ET.Element("nothing")
    found = root.find("testsuite/properties/property[@name='sae.verdict']")
    return None if found is None else found.get("value")


BREAKS = {
    "killed before its options are known": Break(9, {"evals/conftest.py": KILL}),
    "killed while it collects": Break(9, {"evals/test_aa.py": KILL}),
    "killed in a test": Break(9, in_a_test(KILL), "incomplete"),
    "stopped in a test": Break(2, in_a_test(STOP), "incomplete"),
    "a signal while it collects": Break(-15, {"evals/test_aa.py": STOP}),
    "an interrupt while it collects": Break(
        2, {"evals/test_aa.py": STOP.replace("SIGTERM", "SIGINT")}
    ),
    "no file of tests can be collected": Break(
        2, {"evals/test_evals.py": "import no_such_module"}, apart=False
    ),
    "an internal error while it collects": Break(3, {"evals/conftest.py": INTERNAL}, apart=False),
    "a disk that is full at the start": Break(4, {}, "incomplete", (AT_START, True, False)),
    "a disk that becomes full": Break(1, {}, "incomplete", full=(AFTER_A_TEST, True, True)),
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_run_that_breaks_off_leaves_nothing_green(project: Project, how: str) -> None:
    broken = BREAKS[how]
    project.tests(CORE)
    project.thresholds(RULES)
    assert project.run("--junitxml=green.xml").ret == 0
    good = good_report(project)
    for name, text in broken.files.items():
        project.write(name, text)
    flags = ["--junitxml=junit.xml"]
    if broken.full:
        fill(project, *broken.full)
        flags += ["-p", "full"]
    result = (project.run_apart if broken.apart else project.run)(*flags)
    assert result.ret == broken.status
    report = project.path / "sae-report/report.json"
    assert report.exists() == bool(broken.verdict)
    if broken.verdict:
        assert json.loads(report.read_text())["verdict"] == broken.verdict
        assert not json.loads(report.read_text())["complete"]
    killed = broken.status in KILLED
    assert told_by_junit(project.path / "junit.xml") == (None if killed else broken.verdict or None)
    wanted = 1 if broken.verdict else 2
    assert main(["merge", "sae-report", "--output=merged"]) == wanted
    assert main(["compare", str(good), "sae-report"]) == wanted


def test_what_was_measured_before_a_stop_is_told_everywhere(project: Project) -> None:
    project.tests(CORE)
    project.thresholds(RULES)
    for name, text in in_a_test(STOP).items():
        project.write(name, text)
    result, places = everywhere(project, apart=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    for place in (places.run, places.junit, places.merged, places.compared):
        assert place.verdict == "incomplete", place
        assert place.status != 0, place
        assert "the run was stopped by SIGTERM" in place.text, place
    assert "l0 pass" in places.merged.text


def test_the_junit_file_of_a_broken_collection_fails(project: Project) -> None:
    project.tests("import no_such_module")
    assert project.run("--junitxml=junit.xml").ret == 2
    assert "<error" in Path("junit.xml").read_text()
