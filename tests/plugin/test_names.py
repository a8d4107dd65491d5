"""Names that are not UTF-8, of files and in texts, are told with an escape, and break nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.plugin.project import Project

ODD = os.fsdecode(b"b\xff")
HALF = "'\\ud800 of a pair'"


def odd_sae(project: Project) -> None:
    os.rename(project.sae("b"), project.path / "saes" / ODD)


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_an_sae_whose_file_has_such_a_name_is_measured(project: Project, workers: str) -> None:
    odd_sae(project)
    result = project.run_apart(workers, "--junitxml=junit.xml", sae="saes/*")
    assert result.ret == 0, result.outlines
    assert {row["sae"] for row in project.report()["measurements"]} == {"a", "b_"}
    assert {sae["path"] for sae in project.report()["saes"]} == {"saes/a", r"saes/b\udcff"}
    for name in ("report.md", "report.html", "journal.jsonl"):
        assert (project.path / "sae-report" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_bounds_and_a_report_below_such_a_name(project: Project, workers: str) -> None:
    directory = project.path / ODD
    directory.mkdir()
    (directory / "bounds.toml").write_text("version = 1\n[metrics.l0]\nmax = 1\n")
    project.write(
        "pytest.ini",
        "[pytest]\naddopts = -p no:cacheprovider\npythonpath = .\n",
    )
    arguments = [f"--sae-report={ODD}/report", f"--sae-thresholds={ODD}/bounds.toml"]
    result = project.run_apart(workers, "-v", *arguments)
    if workers == "-n2":
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["*is not UTF-8, and pytest-xdist cannot send it*"])
        return
    assert result.ret == 1
    result.stdout.fnmatch_lines([r"*rule*b\udcff/bounds.toml:*"])
    assert (directory / "report" / "report.json").is_file()


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
@pytest.mark.parametrize(
    "body",
    [
        f"raise ValueError({HALF})",
        f"pytest.fail({HALF})",
        f"return [undefined('explained_variance', {HALF}), Estimate('l0', 30.0)]",
        f"return [Estimate('explained_variance', 0.9, details={{{HALF}: [{HALF}]}}),"
        " Estimate('l0', 30.0)]",
    ],
)
def test_half_a_character_in_what_was_measured_or_went_wrong(
    project: Project, body: str, workers: str
) -> None:
    project.measures(body)
    result = project.run_apart(workers, "-k", "core")
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert result.ret == (0 if "details" in body else 1)
    report = project.report()
    assert r"\ud800 of a pair" in str(report["measurements"])


def test_a_baseline_below_such_a_name(project: Project) -> None:
    baseline = project.path / ODD / "base.json"
    baseline.parent.mkdir()
    flag = f"--sae-baseline={baseline}"
    assert project.run_apart(flag, "--sae-baseline-update").ret == 0
    assert baseline.is_file()
    assert project.run_apart(flag).ret == 0
    assert project.report()["measurements"][0]["baseline"]["source"] == r"b\udcff/base.json"


def test_a_test_with_such_a_file_name(project: Project) -> None:
    tests = project.path / "evals" / "test_evals.py"
    tests.rename(Path(tests.parent, os.fsdecode(b"test_\xff.py")))
    assert project.run().ret == 0
    assert {row["nodeid"].partition("::")[0] for row in project.report()["measurements"]} == {
        r"evals/test_\udcff.py"
    }
