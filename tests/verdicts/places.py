"""The five places where the verdict of a run shows, and what has to stand in each of them.

    right(everywhere(project, "--sae-suite=smoke"), "incomplete", told="l0 of a gates by")

Exit status, report.json, JUnit file, `pytest-sae merge` of the report, and `pytest-sae compare` of
it with a good one. `told` are words that have to stand in the last four, or in a green report.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_sae.cli import main
from tests.plugin.project import MEASURE, Project
from tests.whole import whole_report

CORE = """
import pytest

@pytest.mark.sae_metric("l0", "explained_variance")
def test_core(core, gate, metric):
    gate(core[metric])
"""
RULES = "[metrics.l0]\nmin = 20\n[metrics.explained_variance]\nmin = 0.7\n"


@dataclass(frozen=True)
class Told:
    """What one place says: its exit status, its verdict, and all its words."""

    status: int
    verdict: str
    text: str
    complete: bool


@dataclass(frozen=True)
class Places:
    """The five of them; `junit` has status 1 where a test case of it failed."""

    run: Told
    junit: Told
    merged: Told
    compared: Told


def everywhere(
    project: Project, *flags: str, sae: str = "saes/a", apart: bool = False
) -> tuple[pytest.RunResult, Places]:
    """Run the project's tests, and then both commands on its report.

    Args:
        project: whose tests and rules are run.
        flags: of the run.
        sae: of the run.
        apart: in a process of its own.
    """
    good = good_report(project)
    shutil.rmtree("sae-report", ignore_errors=True)
    run = project.run_apart if apart else project.run
    result = run("--junitxml=junit.xml", *flags, sae=sae)
    report = project.report()
    assert report["exit_status"] == result.ret
    return result, Places(
        Told(int(result.ret), report["verdict"], reasons(report), report["complete"]),
        junit(Path("junit.xml")),
        command("merge", "sae-report", "--output=merged"),
        command("compare", str(good), "sae-report", "--output=compared"),
    )


def right(
    places: Places, verdict: str, told: str = "", merged: str = "", compared: str = ""
) -> None:
    """Hold every place to one verdict.

    Args:
        places: of a run.
        verdict: what is right.
        told: words that have to stand in all places but the status; of a green run in its report.
        merged: what is right for merge, where that is another.
        compared: what is right for compare, where that is another.
    """
    of_run = 0 if verdict in ("pass", "partial") else 1
    assert (places.run.status, places.run.verdict) == (of_run, verdict), places.run
    assert (places.junit.status, places.junit.verdict) == (of_run, verdict), places.junit
    for place, wanted in ((places.merged, merged), (places.compared, compared)):
        wanted = wanted or verdict
        assert (place.status, place.verdict) == (0 if wanted == "pass" else 1, wanted), place
    for place in (places.run, places.junit, places.merged, places.compared):
        # What a green run tells beside its verdict, its own report tells.
        assert told in place.text or (of_run == 0 and place is not places.run), place
        # Only what is whole, or failed as a whole, is complete.
        assert place.complete or place.verdict != "pass", place


def command(*arguments: str) -> Told:
    """Run `pytest-sae`, and read the report that it writes."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = main(arguments)
    output = next(each for each in arguments if each.startswith("--output="))
    report = whole_report(Path(output.partition("=")[2], "report.json"))
    assert report["exit_status"] == status
    return Told(status, report["verdict"], said.getvalue() + reasons(report), report["complete"])


def junit(path: Path) -> Told:
    """Read a JUnit file as a service does: by its failed cases; and the properties of the suite."""
    suite = ET.parse(path).getroot().find("testsuite")
    assert suite is not None
    properties = {each.get("name"): each.get("value") for each in suite.iter("property")}
    failed = [each for name in ("failure", "error") for each in suite.iter(name)]
    assert len(failed) == int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    return Told(
        min(len(failed), 1),
        str(suite.find("properties/property[@name='sae.verdict']").get("value")),  # type: ignore[union-attr]
        " ".join(ET.tostring(suite, encoding="unicode", method="text").split()),
        properties["sae.complete"] == "True",
    )


def reasons(report: dict[str, Any]) -> str:
    """All that a report says of why its verdict is what it is, a line each."""
    rows = [f"{row['metric']} {row['verdict']}: {row['reason']}" for row in report["measurements"]]
    update = (report["update"] or {}).get("changes", ())
    narrowed = report["plan"]["narrowed"]
    return "\n".join([*report["problems"], *rows, *update, *narrowed])


_GOOD: dict[tuple[str, ...], str] = {}


def good_report(project: Project) -> Path:
    """The report of a run that passed, about the SAEs that the project has; made once for each."""
    saes = tuple(sorted(each.name for each in (project.path / "saes").iterdir()))
    if saes not in _GOOD:
        _GOOD[saes] = _made_good(project)
    path = project.path / "good" / "report.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(_GOOD[saes])
    return path.parent


def _made_good(project: Project) -> str:
    project.write("good_evals/test_good.py", CORE)
    project.write("good_evals/thresholds.toml", f"version = 1\n{RULES}")
    measure = project.path / "measure.py"
    kept = measure.read_text()
    measure.write_text(f"{MEASURE}\nCONTROLS = {{}}\n")
    result = project.run("good_evals", "--sae-report=made", "--no-sae-ci", sae="saes/*")
    assert result.ret == 0, result.outlines
    measure.write_text(kept)
    shutil.rmtree("good_evals")
    return (project.path / "made" / "report.json").read_text()
