"""Two runs compared, where the second leaves something out: `compare` is held to its verdict.

Of the five places there are its exit status, the report that it writes, and `merge` of that report;
no command writes a JUnit file, and the runs themselves passed.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.plugin.project import Project
from tests.verdicts.places import RULES, Told, command, good_report
from tests.whole import whole_report

Report = dict[str, Any]


def two(project: Project) -> Report:
    """The report of a run over two SAEs, which passed; it is also what stands in `good`."""
    project.sae("b")
    report: Report = whole_report(good_report(project) / "report.json")
    return copy.deepcopy(report)


def of(report: Report, *flags: str) -> Told:
    Path("after").mkdir()
    Path("after", "report.json").write_text(json.dumps(report))
    return command("compare", "good", "after", "--output=compared", *flags)


def red(compared: Told, told: str) -> None:
    merged = command("merge", "compared", "--output=merged")
    for place in (compared, merged):
        assert (place.status, place.verdict, place.complete) == (1, "incomplete", False), place
        assert told in place.text, place


def without(report: Report, sae: str, metric: str = "") -> None:
    """Take rows of an SAE away."""
    rows = report["measurements"]
    report["measurements"] = [
        row for row in rows if row["sae"] != sae or metric not in ("", row["metric"])
    ]


def unnamed(report: Report, sae: str) -> None:
    """Take an SAE away as if it had never been asked for."""
    without(report, sae)
    report["saes"] = [each for each in report["saes"] if each["id"] != sae]
    items = report["plan"]["items"]
    report["plan"]["items"] = [each for each in items if each["sae"] != sae]


def test_a_run_compared_with_itself_passes(project: Project) -> None:
    compared = of(two(project))
    assert (compared.status, compared.verdict, compared.complete) == (0, "pass", True)
    assert command("merge", "compared", "--output=merged").status == 0


def test_an_sae_of_the_first_run_that_the_second_was_not_asked_for(project: Project) -> None:
    report = two(project)
    unnamed(report, "b")
    red(of(report), "b is in good and not in the report")


def test_an_sae_that_the_second_run_names_and_did_not_measure(project: Project) -> None:
    report = two(project)
    without(report, "b")
    red(of(report), "l0 of b gates by good_evals/thresholds.toml:2, and was not judged")


def test_an_sae_that_only_a_report_without_a_plan_names(project: Project) -> None:
    report = two(project)
    unnamed(report, "b")
    report["saes"].append({"id": "c", "path": "c", "text": "c"})
    red(of(report), "no metric of c was judged")


def test_a_value_of_the_first_run_that_the_second_lost(project: Project) -> None:
    report = two(project)
    without(report, "b", "l0")
    red(of(report), "l0 of b is in good and was not measured")


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("[metrics.cosine]\nmin = 0.5\n", "cosine of a gates by bounds.toml:6, and was not judged"),
        ('[metrics."l0:n=5"]\nmin = 20\n', "l0:n=5 of a gates by bounds.toml:6, and was not"),
    ],
    ids=["metric", "setting"],
)
def test_a_rule_of_other_thresholds_that_nothing_measured(
    project: Project, rules: str, told: str
) -> None:
    report = two(project)
    project.write("bounds.toml", f"version = 1\n{RULES}{rules}")
    red(of(report, "--thresholds=bounds.toml"), told)


def test_other_thresholds_that_gate_nothing(project: Project) -> None:
    report = two(project)
    project.write("bounds.toml", "version = 1\n[metrics.l0]\ngate = false\nreason = 'so'\n")
    red(of(report, "--thresholds=bounds.toml"), "no metric of a was judged")
