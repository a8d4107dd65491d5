"""What had to be judged and was not is never green: in the run, its report, merge and compare."""

from __future__ import annotations

import json
import os
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from pytest_sae.cli import main
from pytest_sae.run.journal import read_journal
from tests.plugin.project import Project
from tests.whole import whole_report

CORE = """
import pytest

@pytest.mark.sae_metric("l0")
def test_core(core, gate, metric):
    gate(core[metric])
"""
RULES = "[metrics.l0]\nmin = 20\n[metrics.explained_variance]\nmin = 0.7\n"


def verdicts_everywhere(project: Project, *args: str) -> set[str]:
    """The verdict of a run as its exit status, report, JUnit file, merge and compare tell it."""
    result = project.run("--junitxml=junit.xml", *args)
    report = project.report()
    suite = ET.parse("junit.xml").getroot()
    properties = suite.find("testsuite/properties")
    assert properties is not None
    junit = {each.get("name"): each.get("value") for each in properties}
    told = {report["verdict"], junit["sae.verdict"]}
    assert (result.ret == 0) == (report["verdict"] in ("pass", "partial"))
    for command in (["merge", "sae-report", "--output=merged"], ["compare", "sae-report"]):
        path = [*command, "sae-report"] if command[0] == "compare" else command
        code = main(path)
        assert (code == 0) == (report["verdict"] == "pass"), command
    return told


@pytest.mark.parametrize(
    "tests",
    [
        "def test_core(core): assert core['l0'].estimate.value > 0",
        """
        import pytest

        @pytest.fixture
        def late(core, gate):
            yield
            gate(core["l0"])

        def test_core(late): pass
        """,
    ],
    ids=["never gates", "gates in a teardown"],
)
def test_an_sae_that_no_test_judges_is_never_green(project: Project, tests: str) -> None:
    project.tests(tests)
    project.thresholds("[metrics.l0]\nmin = 20\n")
    assert verdicts_everywhere(project) == {"incomplete"}


def test_a_rule_that_nothing_measured_is_named_with_its_line(project: Project) -> None:
    project.tests(CORE)
    project.thresholds(RULES)
    result = project.run()
    assert result.ret == 1
    told = "explained_variance of a gates by evals/thresholds.toml:4, and was not judged"
    assert told in result.outlines
    assert project.report()["problems"] == [told]
    assert project.report()["complete"] is False
    assert verdicts_everywhere(project) == {"incomplete"}


def test_a_module_that_is_skipped_while_collecting_says_what_it_took_along(
    project: Project,
) -> None:
    project.tests(CORE)
    project.write(
        "evals/test_more.py",
        """
        import pytest
        pytest.importorskip("no_such_dependency")

        @pytest.mark.sae_metric("explained_variance")
        def test_more(core, gate, metric):
            gate(core[metric])
        """,
    )
    project.thresholds(RULES)
    assert verdicts_everywhere(project) == {"incomplete"}
    (problem,) = project.report()["problems"]
    assert "explained_variance of a gates by" in problem
    assert "could not import 'no_such_dependency'" in problem


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_an_error_while_collecting_is_no_pass_though_all_else_runs(
    project: Project, workers: str
) -> None:
    project.tests(CORE)
    project.write("evals/test_broken.py", "import no_such_module_at_all")
    project.thresholds("[metrics.l0]\nmin = 20\n")
    result = project.run(workers, "--continue-on-collection-errors")
    assert result.ret == 1
    report = project.report()
    assert (report["verdict"], report["complete"]) == ("incomplete", False)
    assert "test_broken.py could not be collected" in report["problems"][0]
    assert main(["merge", "sae-report", "--output=merged"]) != 0


def test_rules_about_regressions_alone_judge_nothing_where_everything_is_new(
    project: Project,
) -> None:
    project.tests(CORE)
    project.thresholds("[metrics.l0]\nmin = 20\n")
    # Of two: a baseline of one is that of the one SAE of a run, whatever it is called.
    others = [f"--sae={project.sae(name)}" for name in ("other", "another")]
    update = ("--sae-baseline=kept", "--sae-baseline-update")
    assert project.run(*others, *update, sae=None).ret == 0
    project.thresholds("[metrics.l0]\nregression = { abs = 1.0 }\n")
    result = project.run("--sae-baseline=kept")
    assert result.ret == 1
    assert project.verdicts() == {"a l0": "new"}
    assert project.report()["verdict"] == "incomplete"


def test_values_of_the_baseline_that_are_not_measured_are_missed(project: Project) -> None:
    project.tests(CORE.replace('"l0"', '"l0", "explained_variance"'))
    project.thresholds("[metrics.l0]\nmin = 20\n")
    assert project.run("--sae-baseline=kept", "--sae-baseline-update").ret == 0
    project.tests(CORE)
    result = project.run("--sae-baseline=kept")
    assert result.ret == 1
    assert "1 value of a in kept was not measured: explained_variance" in result.outlines


@pytest.mark.parametrize("part", [["-k", "l0"], ["evals/test_evals.py::test_core[a-l0]"]])
def test_a_part_that_the_user_chose_is_partial_at_a_desk_and_no_pass_in_ci(
    project: Project, monkeypatch: pytest.MonkeyPatch, part: list[str]
) -> None:
    project.tests(CORE.replace('"l0"', '"l0", "explained_variance"'))
    project.thresholds(RULES)
    result = project.run(*part)
    assert result.ret == 0
    assert project.report()["verdict"] == "partial"
    result.stdout.fnmatch_lines(["SAE gate: partial: 1 of 2 gated values judged (*), pass so far*"])
    assert main(["merge", "sae-report", "--output=merged"]) == 1
    monkeypatch.setenv("TEAMCITY_VERSION", "2026.1")
    assert project.run(*part).ret == 1
    assert project.run(*part, "--sae-partial").ret == 0
    assert project.run(*part, "--no-sae-ci").ret == 0
    assert project.run("--sae-ci").ret == 0


def test_of_two_saes_one_that_was_left_out_is_not_passed(project: Project) -> None:
    project.sae("b")
    project.tests(CORE)
    project.thresholds("[metrics.l0]\nmin = 20\n")
    result = project.run("-k", "a-l0", sae="saes/*")
    assert result.ret == 0
    assert project.report()["verdict"] == "partial"
    result.stdout.fnmatch_lines(["SAE gate: partial: 1 of 2 gated values judged (-k)*"])


def test_a_part_never_replaces_the_report_of_a_whole_run(project: Project) -> None:
    project.tests(CORE.replace('"l0"', '"l0", "explained_variance"'))
    project.thresholds(RULES)
    assert project.run().ret == 0
    whole = (project.path / "sae-report/report.json").read_bytes()
    result = project.run("-k", "l0")
    result.stdout.fnmatch_lines(["reports: sae-report/partial"])
    assert (project.path / "sae-report/report.json").read_bytes() == whole
    part = whole_report(project.path / "sae-report/partial/report.json")
    assert part["verdict"] == "partial"


@pytest.mark.parametrize("first", [["-k", "l0"], ["-x"]])
def test_a_part_replaces_neither_another_part_nor_what_was_stopped(
    project: Project, first: list[str]
) -> None:
    project.tests(CORE.replace('"l0"', '"l0", "explained_variance"'))
    project.thresholds(RULES.replace("min = 20", "min = 200"))
    project.run(*first)
    report = project.path / "sae-report/report.json"
    before = report.read_bytes()
    project.run("-k", "explained_variance")
    assert report.read_bytes() == before
    assert (project.path / "sae-report/partial/report.json").is_file()
    if first[0] == "-k":
        os.utime(report, (0, 0))
        project.run(*first)
        assert report.stat().st_mtime > 0


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_the_plan_stands_in_the_first_line_of_the_journal(project: Project, workers: str) -> None:
    project.run(workers)
    start = read_journal(project.path / "sae-report/journal.jsonl")[0]
    names = [each["name"] for each in start["plan"]["items"]]  # type: ignore[index]
    assert names == ["", "explained_variance", "l0"]


def test_marks_in_a_projects_own_options_are_no_narrowing(project: Project) -> None:
    project.write(
        "pytest.ini",
        "[pytest]\naddopts = -p no:cacheprovider -m 'not slow'\nmarkers = slow\npythonpath = .\n",
    )
    project.tests(
        CORE
        + """
@pytest.mark.slow
@pytest.mark.sae_metric("explained_variance")
def test_slow(core, gate, metric):
    gate(core[metric])
"""
    )
    project.thresholds(RULES)
    assert project.run().ret == 1
    assert project.report()["verdict"] == "incomplete"
    assert project.run("-m", "slow or not slow").ret == 0


def shard(project: Project, name: str, **changes: object) -> Path:
    """A report of a passing run, with some of its fields changed."""
    project.tests(CORE)
    project.thresholds("[metrics.l0]\nmin = 20\n")
    assert project.run(f"--sae-report={name}").ret == 0
    path = Path(name) / "report.json"
    path.write_text(json.dumps({**whole_report(path), **changes}))
    return path


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"measurements": []}, "l0 of a gates by evals/thresholds.toml:2, and was not judged"),
        ({"exit_status": 2}, "its exit status was 2"),
        ({"verdict": "fail"}, "it says fail, and nothing in it says why"),
        ({"saes": []}, "there are rows of a, which no report was about"),
        ({"shard": {"which": 0, "count": 0, "saes": ["a"]}}, "shard 0/0 is none"),
    ],
)
def test_a_shard_that_is_not_what_it_says_is_no_pass(
    project: Project, capsys: pytest.CaptureFixture[str], changes: dict[str, object], told: str
) -> None:
    shard(project, "one", **changes)
    capsys.readouterr()
    assert main(["merge", "one", "--output=merged"]) == 1
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"versions": {"pytest-sae": "9.9"}}, "different the package"),
        (
            {"thresholds": [{"file": "evals/thresholds.toml", "sha256": "f" * 64}]},
            "different bounds",
        ),
        ({"models": {"m": "other"}}, "different models: m is"),
    ],
)
def test_shards_that_were_made_otherwise_are_no_whole(
    project: Project, capsys: pytest.CaptureFixture[str], changes: dict[str, object], told: str
) -> None:
    shard(project, "one", models={"m": "ff"})
    shutil.copytree("one", "two")
    path = Path("two/report.json")
    report = {**whole_report(path), **changes}
    report["saes"][0]["id"] = "b"
    for row in report["measurements"]:
        row["sae"] = "b"
    for item in report["plan"]["items"]:
        item["sae"] = "b"
    path.write_text(json.dumps(report))
    capsys.readouterr()
    assert main(["merge", "one", "two", "--output=merged"]) == 1
    assert told in capsys.readouterr().out


def test_an_sae_that_the_second_run_lost_is_missed(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.sae("b")
    project.tests(CORE)
    project.thresholds("[metrics.l0]\nmin = 20\n")
    assert project.run("--sae-report=before", sae="saes/*").ret == 0
    assert project.run("--sae-report=after").ret == 0
    capsys.readouterr()
    assert main(["compare", "before", "after"]) == 1
    assert "b is in before and not in the report" in capsys.readouterr().out


def test_a_family_that_is_required_is_red_where_it_was_skipped_for_want_of_something(
    project: Project,
) -> None:
    project.measures(
        """
        if family == "ravel":
            return [not_applicable("ravel", "no judge")]
        return [Estimate("l0", 30.0)]
        """
    )
    project.tests(CORE + CORE.replace("l0", "ravel").replace("core", "ravel"))
    project.thresholds("[metrics.l0]\nmin = 20\n")
    assert project.run().ret == 0
    assert project.run("--sae-require=core").ret == 0
    result = project.run("--sae-require=core,ravel")
    assert result.ret == 1
    told = "ravel of a is required (--sae-require), and was not measured: not applicable: no judge"
    assert told in result.outlines
    assert project.report()["verdict"] == "incomplete"


def test_what_can_be_required_is_said(project: Project) -> None:
    result = project.run("--sae-require=jugde")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--sae-require=jugde: expected one of probes, judge*'judge'*"])


def test_a_run_that_is_killed_while_it_starts_leaves_no_older_green_report(
    project: Project,
) -> None:
    assert project.run().ret == 0
    killer = project.write("evals/test_aa.py", "import os\nos._exit(9)")
    assert project.run_apart().ret == 9
    assert not (project.path / "sae-report/report.json").exists()
    assert (project.path / "sae-report/report.previous.json").exists()
    killer.unlink()
    assert project.run().ret == 0
    assert not (project.path / "sae-report/report.previous.json").exists()


def killed_at_once(project: Project) -> Path:
    """A conftest that dies when it is imported, before pytest knows its options."""
    assert project.run().ret == 0
    killer = project.write("evals/conftest.py", "import os\nos._exit(9)")
    assert project.run_apart().ret == 9
    return killer


def test_a_run_that_is_killed_before_its_session_starts_leaves_no_older_green_report(
    project: Project,
) -> None:
    killed_at_once(project).unlink()
    assert not (project.path / "sae-report/report.json").exists()
    # Nor does a run that only shows something bring it back.
    assert project.run("--collect-only").ret == 0
    assert not (project.path / "sae-report/report.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--sae-suite=huge"],
        ["--help"],
        ["--markers"],
        ["--fixtures"],
        ["--collect-only"],
        ["-k", "nothing_is_called_so"],
        ["evals/test_evals.py::test_core"],
        ["--sae-report=elsewhere"],
    ],
)
def test_a_run_that_is_refused_or_only_shows_or_is_a_part_leaves_the_older_report(
    project: Project, arguments: list[str]
) -> None:
    assert project.run_apart().ret == 0
    before = project.report()
    project.run_apart(*arguments)
    assert project.report() == before
    assert not (project.path / "sae-report/report.previous.json").exists()


def test_a_worker_that_is_started_late_takes_no_report_away(project: Project) -> None:
    assert project.run_apart().ret == 0
    deaths = "import os\n\ndef test_aa(): os._exit(1)\n"
    project.write("evals/test_aa.py", deaths)
    assert project.run_apart("-n2").ret == 1
    assert len(project.report()["measurements"]) == 4
    assert not (project.path / "sae-report/report.previous.json").exists()


def test_a_run_without_an_sae_test_leaves_the_report_as_it_was(project: Project) -> None:
    assert project.run().ret == 0
    before = (project.path / "sae-report/report.json").read_bytes()
    project.tests("def test_plain(): pass")
    project.run(sae=None)
    assert project.run("--collect-only").ret == 0
    assert (project.path / "sae-report/report.json").read_bytes() == before
