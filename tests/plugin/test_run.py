"""A run from end to end, without and with workers: exit code, terminal, report."""

from __future__ import annotations

import json
import shlex
import sys
from xml.etree import ElementTree

import pytest

from pytest_sae.records.report import Report
from pytest_sae.records.schema import builtins, checked
from tests.plugin.project import EVALS, Project
from tests.timeless import without_times
from tests.whole import whole_report

FAILING = """
if family == "core":
    value = 0.612 if sae == "a" else 0.91
    return [
        Estimate("explained_variance", value, se=0.0061, n={"texts": 400},
                 ci=(value - 0.012, value + 0.012)),
        Estimate("l0", 32.5, n={"tokens": 900}),
    ]
return [Estimate(family, 0.2 + n / 100, {"n": n}, se=0.02, n={"tasks": 4}) for n in (5, 20)]
"""


def test_an_sae_inside_its_bounds_is_green(project: Project) -> None:
    result = project.run()
    assert result.ret == 0
    result.assert_outcomes(passed=4)
    assert project.verdicts() == {
        "a explained_variance": "pass",
        "a l0": "pass",
        "a scr 5": "ungated",
        "a scr 20": "ungated",
    }
    assert project.report()["verdict"] == "pass"
    assert project.report()["complete"] is True


def test_the_header_says_what_is_evaluated(project: Project) -> None:
    result = project.run("--collect-only")
    result.stdout.re_match_lines([
        r"pytest-sae: \d.*, suite standard, thresholds evals/thresholds.toml \([0-9a-f]{8}\)",
        r"SAEs: a",
        r"activations: .*pytest-sae; reports: sae-report",
    ])  # fmt: skip


def test_a_failure_says_everything_in_its_first_line_and_how_to_rerun(project: Project) -> None:
    project.measures(FAILING)
    result = project.run("-v", "--sae-seed=3", "--sae-report=out")
    assert result.ret == 1
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines([
        "explained_variance 0.6120 < min 0.7000 [[]a[]]",
        "  measured  95 % interval 0.6000 to 0.6240, se 0.0061, 400 texts, 1 seed",
        "  rule      evals/thresholds.toml:4",
        "  meaning   share of the activations' variance that the reconstruction explains",
        "  rerun     pytest 'evals/test_evals.py::test_core[[]a-explained_variance[]]'"
        " --sae=saes/a -p xdist -p pytest_sae.plugin --sae-seed=3 --sae-report=out",
    ])  # fmt: skip
    assert not any("Traceback" in line for line in result.outlines)


def test_the_rerun_command_reruns_just_that(project: Project) -> None:
    project.measures(FAILING)
    project.sae("b")
    result = project.run(sae="saes/*")
    whole = (project.path / "sae-report/report.json").read_bytes()
    (rerun,) = [line for line in result.outlines if line.startswith("rerun the first: ")]
    command = shlex.split(rerun.removeprefix("rerun the first: "))
    assert command[:3] == [
        "pytest", "evals/test_evals.py::test_core[a-explained_variance]", "--sae=saes/*",
    ]  # fmt: skip
    again = project.pytester.run(sys.executable, "-m", *command)
    again.assert_outcomes(failed=1)
    assert (project.path / "sae-report/report.json").read_bytes() == whole
    (row,) = whole_report(project.path / "sae-report/partial/report.json")["measurements"]
    assert (row["sae"], row["metric"], row["value"]) == ("a", "explained_variance", 0.612)


def test_the_end_tells_each_sae_in_a_line_and_what_is_red_once(project: Project) -> None:
    project.measures(FAILING)
    project.sae("b")
    result = project.run(sae="saes/*")
    start = next(n for n, line in enumerate(result.outlines) if " SAE evaluation " in line)
    shown = result.outlines[start + 1 :]
    assert shown[:7] == [
        "                        explained",
        "SAE  verdict             variance    l0",
        "a    ✗ fail 1 of 2 red     ✗0.612  32.5",
        "b    ✓ pass 2 of 2           0.91  32.5",
        "",
        "explained_variance 0.6120 < min 0.7000 [a]  evals/thresholds.toml:4",
        "SAE gate: fail (1 fail, 3 pass, 4 ungated; 2 SAEs)",
    ]
    assert result.stdout.str().count("0.6120 < min 0.7000") == 1
    result.assert_outcomes(passed=7, failed=1)


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_failure_is_told_once_and_counted_and_in_full_where_that_is_asked_for(
    project: Project, workers: str
) -> None:
    project.measures(FAILING)
    for asked, times in (((), 1), (("-v",), 2), (("-ra",), 2)):
        result = project.run_apart(workers, *asked)
        result.assert_outcomes(passed=3, failed=1)
        assert result.stdout.str().count("0.6120 < min 0.7000") == times, asked


def test_an_error_of_a_family_is_shown_once_and_its_metrics_in_one_line(project: Project) -> None:
    project.measures("if family == 'scr':\n    raise RuntimeError('no such layer')\n" + FAILING)
    project.tests(EVALS.replace("n=[5, 20]", "n=[1, 2, 5, 20]"))
    result = project.run()
    result.assert_outcomes(passed=1, failed=1, errors=4)
    text = result.stdout.str()
    assert text.count("Traceback") + text.count("RuntimeError: no such layer") <= 3
    assert "4 metrics, scr:n=1 to scr:n=20 unmeasured: " in text


def test_with_v_every_value_is_shown_in_an_aligned_table(project: Project) -> None:
    project.measures(FAILING)
    result = project.run("-v")
    result.stdout.fnmatch_lines([
        "SAE  metric              value ± se       bound    verdict",
        "a    explained_variance  0.6120 ± 0.0061  min 0.7  fail",
        "a    l0                  32.5000          20..120  pass",
        "a    scr:n=5             0.2500 ± 0.0200  -        ungated",
        "a    scr:n=20            0.4000 ± 0.0200  -        ungated",
        "explained_variance 0.6120 < min 0.7000 [[]a[]]  evals/thresholds.toml:4",
        "SAE gate: fail (1 fail, 1 pass, 2 ungated; 1 SAE)",
        "reports: sae-report",
    ])  # fmt: skip


def test_quiet_runs_show_the_verdict_and_the_failures_only(project: Project) -> None:
    project.measures(FAILING)
    lines = project.run("-q").outlines
    shown = [line for line in lines if line.startswith(("a ", "SAE ", "expl", "reports"))]
    assert shown == [
        "explained_variance 0.6120 < min 0.7000 [a]  evals/thresholds.toml:4",
        "SAE gate: fail (1 fail, 1 pass, 2 ungated; 1 SAE)",
    ]


def test_the_report_is_the_same_with_and_without_workers(project: Project) -> None:
    project.measures(FAILING.replace("0.91", "1 / 3").replace("0.2 + n / 100", "0.1 + 0.2 * n"))
    project.sae("b")
    assert project.run(sae="saes/*").ret == 1
    alone = project.report()
    (project.path / "loads.txt").unlink()
    result = project.run_apart("-n2", sae="saes/*")
    assert result.ret == 1
    result.stdout.re_match_lines([r".* 2 failed, 6 passed in .*"])
    assert without_times(project.report()) == without_times(alone)
    assert {row["worker"] for row in project.report()["measurements"]} == {"gw0", "gw1"}
    lines = (project.path / "loads.txt").read_text().splitlines()
    assert sorted(line.rpartition(" ")[0] for line in lines) == [
        "load a", "load b", "release a", "release b",
    ]  # fmt: skip
    assert len({line.rpartition(" ")[2] for line in lines}) == 2
    assert sorted(project.report()["work"].values(), key=str) == [
        {"loads": ["a"]},
        {"loads": ["b"]},
    ]
    assert builtins(checked(Report, project.report())) == project.report()


def test_the_report_is_the_same_whatever_the_order_of_saes_and_tests(project: Project) -> None:
    project.measures(FAILING)
    project.sae("b")
    assert project.run("--sae=saes/a", "--sae=saes/b", sae=None).ret == 1
    forth = project.report()
    project.write(
        "evals/conftest.py",
        "def pytest_collection_modifyitems(items): items.reverse()",
    )
    assert project.run_apart("--sae=saes/b", "--sae=saes/a", sae=None).ret == 1
    back = project.report()
    for part in ("measurements", "verdict", "exit_status", "problems", "complete"):
        assert without_times(back)[part] == without_times(forth)[part], part


def test_an_sae_is_released_before_the_next_is_loaded(project: Project) -> None:
    project.sae("b")
    project.write("evals/test_more.py", "def test_more(sae, model, latents): pass")
    assert project.run(sae="saes/*").ret == 0
    lines = (project.path / "loads.txt").read_text().split("\n")
    assert [line.rpartition(" ")[0] for line in lines][:-1] == [
        "load a", "release a", "load b", "release b",
    ]  # fmt: skip


def test_junit_has_the_values_and_the_verdict(project: Project) -> None:
    project.measures(FAILING)
    project.run("--junitxml=junit.xml")
    suite = ElementTree.parse(project.path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    properties = {p.get("name"): p.get("value") for p in suite.findall("properties/property")}
    assert properties["sae.verdict"] == "fail"
    case = suite.find("testcase[@name='test_core[a-explained_variance]']")
    assert case is not None
    assert {p.get("name"): p.get("value") for p in case.findall("properties/property")} == {
        "sae.id": "a",
        "sae.metric": "explained_variance",
        "sae.value": "0.612",
        "sae.ci": "[0.6, 0.624]",
        "sae.verdict": "fail",
        "sae.bound": "min 0.7",
    }
    failure = case.find("failure")
    assert failure is not None
    assert "explained_variance 0.6120 < min 0.7000 [a]" in str(failure.get("message"))


@pytest.mark.parametrize("plugin", ["xdist", "junitxml", "terminal", "capture", "skipping"])
def test_other_plugins_may_be_missing(project: Project, plugin: str) -> None:
    project.measures(FAILING)
    result = project.run("-p", f"no:{plugin}")
    assert result.ret == 1
    assert project.report()["verdict"] == "fail"
    assert project.report()["exit_status"] == 1


def test_every_measurement_is_in_the_journal(project: Project) -> None:
    project.run()
    events = [json.loads(line) for line in (project.path / "sae-report/journal.jsonl").open()]
    assert [event["event"] for event in events] == ["start", *["row", "test"] * 4, "end"]
    kept = [event for event in events if event["event"] == "row"]
    assert [event["row"] for event in kept] == sorted(
        project.report()["measurements"], key=lambda row: events.index({"event": "row", "row": row})
    )


def test_a_journal_of_an_earlier_run_is_kept(project: Project) -> None:
    project.run()
    first = (project.path / "sae-report/journal.jsonl").read_text()
    project.run()
    project.run()
    kept = sorted((project.path / "sae-report").glob("journal-*.jsonl"))
    assert len(kept) == 2
    assert first in [path.read_text() for path in kept]


def test_github_gets_a_summary_and_annotations(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.measures(FAILING)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))
    result = project.run()
    result.stdout.fnmatch_lines([
        "::error file=evals/thresholds.toml,line=4,title=SAE gate::"
        "explained_variance 0.6120 < min 0.7000 [[]a[]]",
    ])  # fmt: skip
    summary = (project.path / "summary.md").read_text()
    assert summary == (project.path / "sae-report/report.md").read_text()
    assert summary.startswith("## SAE gate: fail")


def test_tests_without_an_sae_are_distributed_as_well(project: Project) -> None:
    project.sae("b")
    project.write(
        "evals/test_plain.py",
        """
        import pytest
        @pytest.mark.parametrize("x", range(5))
        def test_plain(x, worker_id):
            with open("plain.txt", "a") as file:
                file.write(f"{x}\\n")
        """,
    )
    result = project.run_apart("-n2", sae="saes/*")
    assert result.ret == 0
    result.stdout.re_match_lines([r".* 13 passed in .*"])
    assert sorted((project.path / "plain.txt").read_text().split()) == list("01234")


def test_a_run_without_sae_tests_leaves_nothing_behind(project: Project) -> None:
    project.tests("def test_plain(): pass")
    (project.path / "evals/thresholds.toml").unlink()
    result = project.run(sae=None)
    assert result.ret == 0
    assert not (project.path / "sae-report").exists()
    assert "SAE" not in result.stdout.str().replace("pytest_sae", "")


def test_a_fixture_of_another_project_named_sae_is_left_alone(project: Project) -> None:
    project.tests("""
        import pytest
        @pytest.fixture
        def sae():
            return 3
        def test_other(sae):
            assert sae == 3
    """)
    project.run(sae=None).assert_outcomes(passed=1)


def test_the_rerun_command_starts_from_where_pytest_was_called(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.measures(FAILING)
    monkeypatch.chdir(project.path / "evals")
    arguments = ("-v", "-p", "pytest_sae.plugin", "--sae=../saes/a")
    result = project.pytester.runpytest_inprocess(*arguments)
    (rerun,) = [line for line in result.outlines if line.startswith("  rerun")]
    assert rerun == (
        "  rerun     pytest 'test_evals.py::test_core[a-explained_variance]' --sae=../saes/a"
        " -p pytest_sae.plugin"
    )


def test_the_environment_is_in_the_report(project: Project) -> None:
    project.run()
    report = project.report()
    assert (report["environment"], report["models"]) == ({"device": "cpu"}, {"m": "ff"})
