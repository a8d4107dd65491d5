"""Several machines: --sae-shard and `pytest-sae merge`, which must give what one run gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_sae.cli import main
from pytest_sae.gate.baseline_file import read_baseline
from tests.plugin.project import Project
from tests.timeless import without_times
from tests.whole import whole_report

MEASURE = """
from pytest_sae import Estimate

def measure(family, sae):
    value = {"a": 0.91, "b": 1 / 3, "c": 0.8}[sae]
    if family == "core":
        return [
            Estimate("explained_variance", value, se=0.01, ci=(value - 0.02, value + 0.02),
                     n={"texts": 3}, influence=(0.5, -value, 0.25)),
            Estimate("l0", 32.5, n={"tokens": 900}),
        ]
    return [Estimate(family, value + n / 100, {"n": n}, se=0.02, n={"tasks": 4}) for n in (5, 20)]
"""
ALL = ("--sae=saes/*",)


@pytest.fixture
def shards(project: Project) -> Project:
    """A project of three SAEs, one of which is too bad."""
    project.write("measure.py", MEASURE)
    for name in ("b", "c"):
        project.sae(name)
    return project


def run(project: Project, report: str, *args: str) -> int:
    return int(project.run(f"--sae-report={report}", *ALL, *args, sae=None).ret)


def merged(*reports: str, output: str = "merged") -> tuple[int, dict[str, Any]]:
    code = main(["merge", *reports, f"--output={output}"])
    return code, whole_report(Path(output) / "report.json")


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "with workers"])
def test_two_shards_merged_are_a_single_run_to_the_bit(
    shards: Project, workers: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    def evaluate(report: str, *args: str) -> int:
        arguments = (f"--sae-report={report}", *ALL, *args)
        run = shards.run_apart if workers else shards.run
        return int(run(*arguments, *workers, sae=None).ret)

    assert evaluate("whole") == 1
    codes = {evaluate("one", "--sae-shard=1/2"), evaluate("two", "--sae-shard=2/2")}
    assert codes == {0, 1}
    capsys.readouterr()
    code, report = merged("two", "one/report.json")
    assert code == 1
    told = capsys.readouterr().out
    assert "explained_variance 0.3333 < min 0.7000 [b]" in told
    assert "reports: merged" in told
    whole = whole_report(Path("whole/report.json"))
    assert without_times(report) == without_times(whole)
    kept = [Path(each, "report.influence.safetensors").read_bytes() for each in ("whole", "merged")]
    assert kept[0] == kept[1]


def test_shards_of_named_saes_are_judged_by_a_baseline_of_other_paths(shards: Project) -> None:
    kept = ("--sae-baseline=kept",)
    run(shards, "whole", *kept, "--sae-baseline-update")
    saes = []
    for name in ("a", "b", "c"):
        shards.sae(f"next/{name}9000")
        saes.append(f"--sae={name}@saes/next/{name}9000")
    for report, *args in (("one", "--sae-shard=1/2"), ("two", "--sae-shard=2/2")):
        shards.run(f"--sae-report={report}", *saes, *kept, *args, sae=None)
    _, report = merged("one", "two")
    assert [each["id"] for each in report["saes"]] == ["a", "b", "c"]
    assert report["problems"] == []
    values = [(row["value"], row["baseline"]["value"]) for row in report["measurements"]]
    assert len(values) == 12
    assert all(now == before for now, before in values)


def test_a_merged_report_is_a_baseline_as_that_of_a_single_run_is(shards: Project) -> None:
    for report, *args in (("whole",), ("one", "--sae-shard=1/2"), ("two", "--sae-shard=2/2")):
        run(shards, report, *args)
    merged("one", "two")
    entries = [read_baseline(Path(each, "report.json"), "").entries for each in ("whole", "merged")]
    assert entries[0] == entries[1]
    assert sum(bool(entry.influence) for entry in entries[0]) == 3


def test_each_shard_evaluates_its_own_part(shards: Project) -> None:
    evaluated = []
    for which in (1, 2, 3):
        run(shards, f"part{which}", f"--sae-shard={which}/3")
        report = whole_report(Path(f"part{which}/report.json"))
        evaluated.append({row["sae"] for row in report["measurements"]})
        assert report["shard"] == {"which": which, "count": 3, "saes": ["a", "b", "c"]}
    assert sorted(map(sorted, evaluated)) == [["a"], ["b"], ["c"]]


def test_an_absent_shard_is_red_and_named(
    shards: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    run(shards, "one", "--sae-shard=1/2")
    capsys.readouterr()
    code, report = merged("one")
    assert code == 1
    assert not report["complete"]
    assert "shard 2/2 is absent" in report["problems"]
    assert "shard 2/2 is absent" in capsys.readouterr().out


def test_a_shard_that_is_there_twice_does_not_replace_another(shards: Project) -> None:
    run(shards, "one", "--sae-shard=1/2")
    code, report = merged("one", "one")
    assert code == 1
    assert "shard 2/2 is absent" in report["problems"]
    assert any(each.startswith("2 reports are about ") for each in report["problems"])


def test_shards_of_other_numbers_are_not_of_one_run(shards: Project) -> None:
    run(shards, "one", "--sae-shard=1/2")
    run(shards, "two", "--sae-shard=2/3")
    code, report = merged("one", "two")
    assert code == 1
    assert "not all reports are shards of one run" in report["problems"]


def test_shards_that_were_made_otherwise_are_red(shards: Project) -> None:
    run(shards, "one", "--sae-shard=1/2")
    run(shards, "two", "--sae-shard=2/2", "--sae-seed=1", "--sae-suite=smoke")
    code, report = merged("one", "two")
    assert code == 1
    assert report["problems"] == [
        "the reports were made with different seed: 0, 1",
        "the reports were made with different suite: smoke, standard",
    ]


def test_a_shard_that_was_killed_is_red(shards: Project) -> None:
    run(shards, "one", "--sae-shard=1/2")
    run(shards, "two", "--sae-shard=2/2", "-x", "--maxfail=1", "-k", "explained")
    report = whole_report(Path("two/report.json"))
    Path("two/report.json").write_text(
        json.dumps({**report, "complete": False, "problems": ["the run has not ended"]})
    )
    code, report = merged("one", "two")
    assert code == 1
    assert "shard 2/2: the run has not ended" in report["problems"]


def test_a_verdict_that_a_shard_only_claims_is_not_believed(shards: Project) -> None:
    run(shards, "one", "--sae-shard=1/2")
    run(shards, "two", "--sae-shard=2/2")
    for name in ("one", "two"):
        path = Path(name, "report.json")
        report = whole_report(path)
        for row in report["measurements"]:
            row.update({"verdict": "pass", "outcome": "passed"})
        path.write_text(json.dumps({**report, "verdict": "pass", "exit_status": 0, "tests": []}))
    code, report = merged("one", "two")
    assert code == 1
    assert report["verdict"] == "fail"


def test_runs_over_different_saes_are_merged_without_shards(shards: Project) -> None:
    for name in ("a", "c"):
        shards.run(f"--sae-report=of-{name}", f"--sae=saes/{name}", sae=None)
    code, report = merged("of-a", "of-c")
    assert code == 0, report["problems"]
    assert [sae["id"] for sae in report["saes"]] == ["a", "c"]
    assert report["verdict"] == "pass"


@pytest.mark.parametrize(
    ("shard", "says"),
    [
        ("0/2", "expected K/N, such as 2/8"),
        ("3/2", "expected K/N, such as 2/8"),
        ("half", "expected K/N, such as 2/8"),
        ("1/4", "there are 3 SAEs, so that a shard would be empty. Expected N of at most 3."),
    ],
)
def test_a_shard_that_cannot_be_is_a_usage_error(shards: Project, shard: str, says: str) -> None:
    result = shards.run(*ALL, f"--sae-shard={shard}", sae=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert says in result.stderr.str()
