"""Reports with damaged bytes: judged by what they hold, or refused in a sentence."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, get_args

import pytest

from pytest_sae.errors import PytestSAEError
from pytest_sae.gate.merge import merge
from pytest_sae.records.schema import read_report
from pytest_sae.records.verdicts import RunVerdict
from tests.mutated import mutated
from tests.plugin.project import Project
from tests.verdicts.places import good_report


def kept(report: dict[str, Any]) -> bool:
    """Whether every rule of the plan is kept by a row, by a plain loop over the JSON."""
    return all(
        any(
            row["sae"] == item["sae"]
            and row["metric"] in item["names"]
            and isinstance(row["value"], float | int)
            and row["value"] >= rule["min"]
            for row in report["measurements"]
            if row["rule"] is not None
            for rule in [report["rules"][row["rule"]]]
            if rule["min"] is not None
        )
        for item in report["plan"]["items"]
        if item["kind"] == "rule"
    )


def judged(raw: bytes, path: Path) -> str:
    """What merge says of it: a verdict, or `refused`."""
    path.write_bytes(raw)
    try:
        found = merge([read_report(path)])
    except PytestSAEError as error:
        return "refused" if "\n" not in str(error) else str(error)
    if found.verdict == "pass":
        assert kept(json.loads(raw)), raw
        assert found.complete
    return found.verdict


def held(project: Project, count: int) -> None:
    path = good_report(project) / "report.json"
    raw = path.read_bytes()
    assert judged(raw, path) == "pass"
    draw = random.Random(12)
    told = {judged(mutated(raw, draw), path) for _ in range(count)}
    # The damage is neither always fatal nor always harmless.
    assert {"refused", "pass", "incomplete"} <= told <= {"refused", *get_args(RunVerdict)}


def test_a_damaged_report_is_refused_or_judged_by_what_it_holds(project: Project) -> None:
    held(project, 300)


def test_a_plan_whose_rule_has_no_name_is_refused(project: Project) -> None:
    path = good_report(project) / "report.json"
    report = json.loads(path.read_text())
    report["plan"]["items"][-1]["names"] = [""]
    path.write_text(json.dumps(report))
    with pytest.raises(PytestSAEError, match=r"'' is not spelled like 'scr'"):
        read_report(path)


@pytest.mark.slow
def test_two_thousand_damaged_reports(project: Project) -> None:
    held(project, 2_000)
