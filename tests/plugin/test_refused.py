"""An estimate with a field that is not what it must be costs its test, and not the report."""

from __future__ import annotations

import pytest

from tests.plugin.project import Project

ODD = """
odd = {
    "status": "OK", "n": {"t": 1.5}, "se": "small", "ci": (1, 2, 3), "seeds": 1.5,
    "reason": None, "details": [[1]], "influence": [float("nan")],
}
return [
    Estimate("scr", 0.9, **{"params": {"field": name}, "se": 0.01, **{name: value}})
    for name, value in odd.items()
]
"""
TESTS = """
import pytest

@pytest.mark.parametrize("field", ["good", "status", "n", "se", "ci", "seeds", "reason", "details",
                                   "influence"])
def test_field(core, gate, field):
    gate(core["l0"] if field == "good" else core["scr:field=" + field])
"""


@pytest.mark.parametrize("processes", ["-n0", "-n2"])
def test_each_odd_field_fails_its_test_and_the_report_stands(
    project: Project, processes: str
) -> None:
    body = ODD.replace("return [", 'return [Estimate("l0", 30.0)] + [')
    project.measures(body)
    project.tests(TESTS)
    project.thresholds("[metrics.scr]\nmin = 0.5\n[metrics.l0]\nmin = 20\n")
    result = project.run(processes, "-v")
    result.assert_outcomes(passed=1, failed=8)
    result.stdout.fnmatch_lines(
        ["scr:field=n unmeasured: n.t is 1.5. Expected a valid integer. ?a?*", "  rerun  *"]
    )
    report = project.report()
    assert report["complete"]
    assert (report["verdict"], report["exit_status"]) == ("incomplete", 1)
    rows = {row["params"].get("field", "good"): row for row in report["measurements"]}
    assert rows.pop("good")["verdict"] == "pass"
    assert len(rows) == 8
    for name, row in rows.items():
        assert (row["verdict"], row["value"], row["outcome"]) == ("unmeasured", None, "failed")
        assert row["reason"].startswith(name)
        assert "Expected" in row["reason"]


def test_a_metric_that_nobody_registered_is_named_in_its_row(project: Project) -> None:
    project.measures('return [Estimate("srr", 0.9)]')
    project.tests("def test_it(core, gate): gate(core['srr'])")
    result = project.run()
    result.assert_outcomes(failed=1)
    (row,) = project.report()["measurements"]
    assert (row["metric"], row["verdict"]) == ("srr", "unmeasured")
    assert row["reason"].startswith("metric is 'srr'. Expected one that is registered.")


def test_a_reason_that_no_file_can_hold_is_told_by_its_escape(project: Project) -> None:
    project.tests("def test_it(core, gate): raise ValueError('half \\\\ud800 a pair')")
    project.run().assert_outcomes(failed=1)
    (test,) = project.report()["tests"]
    assert test["reason"] == "ValueError: half \\ud800 a pair"
