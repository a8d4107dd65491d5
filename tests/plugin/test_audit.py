"""`--sae-audit`: off unless asked for, one test per world, its table in every report."""

from __future__ import annotations

import json

import pytest

import pytest_sae.audit.gather as gathering
from pytest_sae import cli
from pytest_sae.audit.summary import world_of
from pytest_sae.run.journal import read_journal
from tests.plugin.project import Project
from tests.whole import whole_report

AUDIT = """
from tests.audit.planted import world
import pytest_sae.audit.gather as gathering
from types import SimpleNamespace

# What is measured is planted: nothing is trained here.
def gather(spec, size, store, **_):
    import dataclasses
    planted = world(lambda truth, _: truth, reseeds=3)
    renamed = [dataclasses.replace(o, metric="explained_variance") for o in planted.observations]
    return dataclasses.replace(planted, world=spec.name, observations=tuple(renamed))

gathering.gather = gather
"""
TEST = """
from pytest_sae.audit.panel_checks import unsound

def test_audit(audited):
    assert not unsound(audited)
"""

OWN = """
import pytest

@pytest.fixture
def audited():
    return "mine"

def test_own(audited):
    assert audited == "mine"
"""


@pytest.fixture
def audited(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    # Imported here, once: torch can't be imported again by every run in this process. What the
    # project's conftest plants there is taken away afterwards.
    monkeypatch.setattr(gathering, "gather", gathering.gather)
    directory = project.pytester.path
    conftest = directory / "conftest.py"
    conftest.write_text(conftest.read_text() + AUDIT)
    (directory / "test_audit.py").write_text(TEST)
    return project


def test_without_the_flag_the_audit_is_not_there(audited: Project):
    result = audited.run("test_audit.py", sae=None)
    result.stdout.no_fnmatch_line("*audit*reach*")
    result.assert_outcomes(deselected=1)


def test_a_fixture_of_the_user_that_is_called_alike_is_the_user_s(project: Project):
    (project.pytester.path / "test_own.py").write_text(OWN)
    result = project.run("test_own.py", sae=None)
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("workers", [[], ["-n2"]])
def test_every_world_is_a_test_and_the_table_is_in_all_reports(
    audited: Project, workers: list[str]
):
    result = audited.run("test_audit.py", "--sae-audit", *workers, sae=None)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["*audit (small, 3 worlds): 1 of 1 metrics reach every goal: explained_variance*"]
    )
    report = audited.report()
    assert [each["world"] for each in report["audit"]["worlds"]] == [
        "correlated", "hierarchical", "superposed",
    ]  # fmt: skip
    directory = audited.pytester.path / "sae-report"
    assert "Can the metrics be believed?" in (directory / "report.html").read_text()
    assert "| explained_variance | 0.0 % |" in (directory / "report.md").read_text()
    events = read_journal(directory / "journal.jsonl")
    kept = [world_of(each["audit"]) for each in events if each["event"] == "audit"]
    assert sorted(each.world for each in kept) == ["correlated", "hierarchical", "superposed"]
    assert all(each.observations for each in kept)


def test_the_document_is_drawn_from_the_report_and_keeps_what_was_written_by_hand(
    audited: Project, capsys: pytest.CaptureFixture[str]
):
    audited.run("test_audit.py", "--sae-audit", sae=None)
    report = audited.pytester.path / "sae-report"
    document = audited.pytester.path / "docs" / "audit.md"
    assert cli.main(["audit", str(report), "--output", str(document)]) == 0
    first = document.read_text()
    assert "| explained_variance | 0.0 % | 0.00 | 1.00 | 1.00 to 1.00 |" in first
    document.write_text(f"{first}\nMy reading of it.\n")
    assert cli.main(["audit", str(report), "--output", str(document)]) == 0
    assert document.read_text().rstrip().endswith("My reading of it.")
    assert document.read_text().startswith(first.rstrip())


def test_a_report_without_an_audit_is_refused(audited: Project, capsys: pytest.CaptureFixture[str]):
    audited.run("test_audit.py", "--sae-audit", sae=None)
    path = audited.pytester.path / "sae-report" / "report.json"
    path.write_text(json.dumps({**whole_report(path), "audit": None}))
    assert cli.main(["audit", str(path)]) == 2
    assert "holds no audit. Expected a run with --sae-audit" in capsys.readouterr().err
