"""Judged families: nothing of them counts before the judge has passed its calibration."""

from __future__ import annotations

import pytest

from tests.plugin.project import Project

TESTS = """
    import pytest

    @pytest.mark.sae_metric("judge_calibration.score")
    def test_judge_calibration(judge_calibration, gate, metric):
        gate(judge_calibration[metric])

    @pytest.mark.sae_metric("shift", "shift.margin", n=20)
    def test_shift(shift, gate, metric):
        gate(shift[metric])

    @pytest.mark.sae_metric("l0")
    def test_core(core, gate, metric):
        gate(core[metric])
"""
MEASURED = """
    open("asked.txt", "a").write(family + "\\n")
    if family == "judge_calibration":
        return [Estimate("judge_calibration.score", {score})]
    if family == "core":
        return [Estimate("l0", 30.0)]
    return [Estimate(name, 0.5, {{"n": 20}}) for name in ("shift", "shift.margin")]
"""
BOUNDS = """
    [metrics."judge_calibration.score"]
    min = 0.8

    [metrics.l0]
    min = 20

    [metrics.shift]
    min = 0.1
"""


@pytest.fixture
def judged(project: Project) -> Project:
    project.tests(TESTS)
    project.thresholds(BOUNDS)
    project.measures(MEASURED.format(score=0.9))
    return project


def asked(project: Project) -> list[str]:
    return (project.path / "asked.txt").read_text().split()


def test_with_a_calibrated_judge_the_judged_metrics_are_judged(judged: Project) -> None:
    result = judged.run()
    assert result.ret == 0
    assert judged.verdicts() == {
        "a judge_calibration.score": "pass",
        "a l0": "pass",
        "a shift 20": "pass",
        "a shift.margin 20": "ungated",
    }


@pytest.mark.parametrize("workers", [[], ["-n2"]])
def test_a_judge_below_its_threshold_makes_every_judged_metric_unmeasured(
    judged: Project, workers: list[str]
) -> None:
    judged.measures(MEASURED.format(score=0.6))
    result = judged.run_apart(*workers)
    assert result.ret == 1
    verdicts = judged.verdicts()
    assert verdicts.pop("a judge_calibration.score") == "fail"
    assert verdicts == {
        "a l0": "pass",
        "a shift 20": "unmeasured",
        "a shift.margin 20": "ungated",  # no rule asks for it
    }
    assert judged.rows()["a shift 20"]["reason"] == (
        "the judge failed its calibration: judge_calibration.score 0.6000 < min 0.8000 [a]"
    )
    assert "shift" not in asked(judged)  # only its names were wanted


def test_a_calibration_that_was_not_measured_is_as_bad_as_a_failed_one(judged: Project) -> None:
    judged.measures(MEASURED.format(score="None"))
    result = judged.run("-k", "shift")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*the judge failed its calibration: * unmeasured: no value*"])


def test_without_a_gate_the_calibration_decides_nothing(judged: Project) -> None:
    judged.measures(MEASURED.format(score=0.1))
    result = judged.run("--sae-no-gate")
    assert result.ret == 0
    assert judged.rows()["a shift 20"]["value"] == 0.5


def test_without_a_judge_they_are_skipped_with_the_reason_and_the_rest_counts(
    judged: Project,
) -> None:
    judged.measures(
        """
        if family == "core":
            return [Estimate("l0", 30.0)]
        names = {
            "shift": ["shift", "shift.margin"],
            "judge_calibration": ["judge_calibration.score"],
        }
        params = {"n": 20} if family == "shift" else {}
        return [not_applicable(name, "no judge: name one", params) for name in names[family]]
        """
    )
    result = judged.run("-rs")
    result.assert_outcomes(passed=1, skipped=3)
    result.stdout.fnmatch_lines(["SKIPPED * not applicable: no judge: name one"])
    assert result.ret == 0


def test_a_judge_that_does_not_answer_is_asked_once_and_not_by_every_test(judged: Project) -> None:
    judged.measures(
        """
        open("asked.txt", "a").write(family + "\\n")
        if family == "core":
            return [Estimate("l0", 30.0)]
        from pytest_sae.errors import JudgeError
        raise JudgeError("the provider said 401")
        """
    )
    result = judged.run()
    assert result.ret == 1
    assert asked(judged).count("judge_calibration") == 1
    result.assert_outcomes(passed=1, errors=3)
    assert {row["reason"] for key, row in judged.rows().items() if "l0" not in key} == {
        "the provider said 401"
    }
