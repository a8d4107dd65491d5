"""`pytest-sae compare` and `check`: what they print and how they exit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_sae.cli import main
from tests.plugin.project import Project
from tests.plugin.test_baseline import BOUNDS, made_with, values
from tests.whole import whole_report

PAIRED = """
from pytest_sae import Estimate

def measure(family, sae):
    value = {value}
    influence = (0.021, -0.02, 0.001) if value == 0.91 else (0.02, -0.02, 0.0)
    return [
        Estimate("explained_variance", value, se=0.03, n={{"texts": 3}}, influence=influence),
        Estimate("mse", 1.0, se=0.01, n={{"texts": 40}}),
    ]
"""


@pytest.fixture
def two(project: Project) -> Callable[..., int]:
    """Runs twice, into before/ and after/, and compares the reports."""
    project.thresholds(BOUNDS)
    made_with(project)

    def compare(before: dict[str, float], after: dict[str, float], *args: str) -> int:
        for name, measured in (("before", before), ("after", after)):
            values(project, **measured)
            project.run(f"--sae-report={name}")
        return main(["compare", "before", "after", *args])

    return compare


FIRST = {"explained_variance": 0.91, "mse": 1.0}


def test_a_run_compared_with_itself_is_green(
    two: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert two(FIRST, FIRST) == 0
    assert "SAE gate: pass (2 pass; 1 SAE)" in capsys.readouterr().out


def test_a_regression_is_red_and_told_in_its_first_line(
    two: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert two(FIRST, {"explained_variance": 0.8, "mse": 1.0}) == 1
    told = capsys.readouterr().out
    assert "explained_variance 0.8000 regressed from 0.9100 (-0.1100), allowed 0.0283 [a]" in told
    assert "SAE gate: fail" in told


def test_a_comparison_is_told_as_a_run_is_and_every_value_with_v(
    two: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    after = {"explained_variance": 0.8, "mse": 1.0}
    two(FIRST, after)
    capsys.readouterr()
    main(["compare", "before", "after"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.startswith("a ")] == [
        ["a", "✗", "fail", "1", "of", "2", "red", "✗0.8", "1"]
    ]
    assert sum("regressed from 0.9100" in line for line in lines) == 1
    assert max(map(len, lines)) < 80
    main(["compare", "before", "after", "-v"])
    told = capsys.readouterr().out
    assert "a    mse                 1.0000 ± 0.0100  max 5    1.0000 (+0.0000)  pass" in told


def test_what_the_second_run_left_out_is_red(
    two: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert two(FIRST, {"mse": 1.0}) == 1
    told = capsys.readouterr().out
    assert "explained_variance of a is in before" in told
    assert "was not measured" in told


def test_what_the_first_run_did_not_have_is_red_in_ci_alone(
    two: Callable[..., int], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    two(FIRST, FIRST)
    project.thresholds("[metrics.mse]\nmax = 5\n")
    values(project, mse=1.0)
    assert project.run("--sae-report=before").ret == 0
    assert main(["compare", "before", "after"]) == 0
    monkeypatch.setenv("CI", "true")
    assert main(["compare", "before", "after"]) == 1


def test_other_rules_can_judge_what_was_measured(
    two: Callable[..., int], project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write("strict.toml", "version = 1\n[metrics.mse]\nmax = 0.5\n")
    assert two(FIRST, FIRST, "--thresholds=strict.toml", "--output=drawn") == 1
    assert "mse 1.0000 > max 0.5000 [a]" in capsys.readouterr().out
    assert whole_report(Path("drawn/report.json"))["verdict"] == "fail"
    assert Path("drawn/report.html").is_file()


def test_another_seed_is_compared_by_the_tolerance_for_that(
    two: Callable[..., int], project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = "version = 1\n[metrics.mse]\nregression = { abs = 0.1 }\nother_seed = { abs = 0.5 }\n"
    project.write("seeds.toml", rules)
    later = {**FIRST, "mse": 1.3}
    assert two(FIRST, later, "--thresholds=seeds.toml") == 1
    assert main(["compare", "before", "after", "--thresholds=seeds.toml", "--other-seed"]) == 0
    capsys.readouterr()
    assert main(["compare", "before", "after", "--other-seed"]) == 2
    assert "Expected --thresholds=FILE beside it" in capsys.readouterr().err


def test_runs_on_other_texts_are_incomparable(
    two: Callable[..., int], project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    two(FIRST, FIRST)
    made_with(project, data="other")
    project.run("--sae-report=after")
    capsys.readouterr()
    assert main(["compare", "before", "after"]) == 1
    told = capsys.readouterr().out
    assert "not comparable with before: data was d, is other [a]" in told


def test_two_saes_are_compared_whatever_they_are_called(
    two: Callable[..., int], project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    two(FIRST, FIRST)
    project.sae("b")
    project.run("--sae-report=after", sae="saes/b")
    capsys.readouterr()
    assert main(["compare", "before", "after"]) == 0
    assert "SAE gate: pass (2 pass; 1 SAE)" in capsys.readouterr().out


@pytest.fixture
def paired(project: Project) -> Project:
    """A project with a report of 0.91 in before/, and one of 0.87 in after/."""
    project.thresholds(BOUNDS)
    made_with(project)
    project.tests(
        "import pytest\n\n"
        '@pytest.mark.sae_metric("explained_variance", "mse")\n'
        "def test_core(core, gate, metric):\n    gate(core[metric])\n"
    )
    for name, value in (("before", 0.91), ("after", 0.87)):
        project.write("measure.py", PAIRED.format(value=value))
        project.run(f"--sae-report={name}")
    return project


def test_reports_that_know_their_texts_are_compared_text_by_text(
    paired: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["compare", "before", "after", "--output=drawn"]) == 1
    assert "regressed from 0.9100 (-0.0400), allowed 0.0200 [a]" in capsys.readouterr().out
    row = whole_report(Path("drawn/report.json"))["measurements"][0]
    assert row["baseline"]["paired"] == pytest.approx(0.001 * 2**0.5, rel=1e-3)
    assert "noise 2 x 0.0014 (paired: instead of 0.0424)" in Path("drawn/report.html").read_text()
    for name in ("before", "after"):
        Path(name, "report.influence.safetensors").unlink()
    assert main(["compare", "before", "after"]) == 0


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_run_is_compared_text_by_text_with_a_baseline_that_kept_them(
    paired: Project, workers: str
) -> None:
    paired.write("measure.py", PAIRED.format(value=0.91))
    assert paired.run("--sae-baseline=kept", "--sae-baseline-update").ret == 0
    assert Path("kept/a.influence.safetensors").is_file()
    assert paired.run_apart(workers, "--sae-baseline=kept").ret == 0
    paired.write("measure.py", PAIRED.format(value=0.87))
    result = paired.run_apart(workers, "--sae-baseline=kept", "-v")
    assert result.ret == 1
    result.stdout.fnmatch_lines([
        "explained_variance 0.8700 regressed from 0.9100 (-0.0400), allowed 0.0200 [[]a[]]",
        "  baseline  0.9100 (-0.0400), tolerance 0.0200, "
        "noise 2 x 0.0014 (paired: instead of 0.0424); kept",
    ])  # fmt: skip


def test_a_baseline_keeps_no_texts_where_it_must_not(paired: Project) -> None:
    arguments = ("--sae-baseline=kept", "--sae-baseline-update")
    assert paired.run(*arguments).ret == 0
    result = paired.run(*arguments, "--sae-baseline-texts=8")
    assert result.ret == 0
    result.stdout.fnmatch_lines([
        "what each text adds to the errors of a: 12 bytes, not kept (--sae-baseline-texts allows 8)"
    ])  # fmt: skip
    assert not Path("kept/a.influence.safetensors").exists()
    assert not Path("sae-report/report.influence.safetensors").exists()
    assert paired.run(*arguments, "--sae-baseline-texts=off").ret == 0
    assert paired.report()["update"]["changes"] == []


@pytest.mark.parametrize("value", ["much", "1P", "-1", "1.5M"])
def test_a_size_that_is_none_is_a_usage_error(project: Project, value: str) -> None:
    result = project.run(f"--sae-baseline-texts={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "expected off, or bytes such as 500k, 2M or 200G" in result.stderr.str()


WRONG = [
    (["compare", "nowhere", "after"], "nowhere does not exist: there is no baseline yet."),
    (["compare", "before", "nowhere"], "nowhere cannot be read: No such file or directory."),
    (["compare", "before", "text"], "text is no report of this version: the file: Invalid JSON"),
    (["compare", "text", "after"], "text is no baseline: the file: Invalid JSON"),
    (["compare", "empty", "after"], "empty is a directory without a baseline."),
    (["compare", "before", "empty"], "empty is a directory without a report.json."),
    (["compare", "before", "kept.json"], "kept.json is no report of this version"),
    (["compare", "before", "after", "--thresholds=no.toml"], "--thresholds=no.toml is no file."),
    (["compare", "before", "after", "--thresholds=text"], "text:1: not TOML"),
    (["merge", "nowhere"], "nowhere cannot be read: No such file or directory."),
    (["merge", "before", "text"], "text is no report of this version: the file: Invalid JSON"),
    (["merge", "empty"], "empty is a directory without a report.json."),
    (["merge", "before", "--output=text"], "--output=text is a file. Expected a directory."),
]


@pytest.mark.parametrize(("command", "says"), WRONG, ids=[" ".join(each[0]) for each in WRONG])
def test_what_cannot_be_used_is_said_in_one_line(
    two: Callable[..., int], capsys: pytest.CaptureFixture[str], command: list[str], says: str
) -> None:
    two(FIRST, FIRST)
    Path("text").write_text("no JSON, no TOML")
    Path("empty").mkdir()
    Path("kept.json").write_text('{"baseline_version": 1, "saes": {}, "made": {}, "values": []}')
    capsys.readouterr()
    assert main(command) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"pytest-sae: {says}")
    assert told.err.count("\n") == 1
    assert told.out == ""


@pytest.mark.parametrize("arguments", [["merge"], ["compare", "a"], ["unknown"], []])
def test_a_command_that_is_none_is_a_usage_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage: pytest-sae" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "code"),
    [(["compare", "before", "after"], 0), (["merge", "before"], 0), (["merge", "none"], 2)],
    ids=["compare", "merge", "merge nothing"],
)
def test_the_command_exits_as_main_returns(
    two: Callable[..., int], command: list[str], code: int
) -> None:
    two(FIRST, FIRST)
    script = "import sys; from pytest_sae.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
