"""Controls in a run: --sae-controls, what they decide, and where they stand in the reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_sae.cli import main
from pytest_sae.options import Options, read_options
from tests.plugin.project import Project
from tests.whole import whole_report

WORKERS = pytest.mark.parametrize("workers", ["-n0", "-n2"])

# In place of the session's own: the controls of --sae-controls, with values made by hand.
CONTROLLED = """
_own = EvalSession.measure

def _measure(self, family, sae):
    import dataclasses
    import measure
    from pytest_sae.numbers.control import Control
    from pytest_sae.session.suites import SUITES

    which = self.options.controls or SUITES[self.options.suite].controls
    def controls(each):
        values = {} if which == "off" else measure.CONTROLS.get(each.key, {})
        return tuple(
            Control(name, expected, each.spec.direction, value, 0.01, n={"texts": 40})
            for name, (expected, value) in values.items()
            if which in ("cheap", "all") or name in which.split(",")
        )
    return tuple(dataclasses.replace(each, controls=controls(each))
        for each in _own(self, family, sae))

EvalSession.measure = _measure
"""
CORE = """
from pytest_sae import Estimate

CONTROLS = {controls}

def measure(family, sae):
    return [Estimate(name, value, se=0.01, ci=(value - 0.02, value + 0.02), n={{"texts": 40}})
        for name, value in {values}.items()]
"""
EVALS = """
import pytest

@pytest.mark.sae_metric({names})
def test_core(core, gate, metric):
    gate(core[metric])
"""
BOUNDS = """
[metrics.explained_variance]
min = 0.5
[metrics.cosine]
min = 0.5
[metrics.ravel]
gate = false
reason = "noisy"
"""
Controls = dict[str, dict[str, tuple[str, float | None]]]


@pytest.fixture
def controlled(project: Project) -> Project:
    """A project whose session measures the controls that are asked for."""
    project.write("conftest.py", (project.path / "conftest.py").read_text() + CONTROLLED)
    project.thresholds(BOUNDS)
    return project


def values(project: Project, controls: Controls, **named: float) -> None:
    """Set what is measured, of the SAE and of its controls, and the tests that ask for it."""
    project.write("measure.py", CORE.format(controls=repr(controls), values=repr(named)))
    project.tests(EVALS.format(names=", ".join(map(repr, named))))
    tables = [f"[{each}" for each in BOUNDS.split("[")[1:] if each.startswith("metrics.")]
    project.thresholds("".join(each for each in tables if each[9:].partition("]")[0] in named))


BELOW: Controls = {"explained_variance": {"random": ("below", -1.2), "identity": ("reference", 1)}}
LEVEL: Controls = {
    "explained_variance": {"random": ("below", -1.2)},
    "cosine": {"random": ("below", 0.69), "permuted_decoder": ("below", 0.1)},
    "ravel": {"random": ("below", 0.75)},
}


@WORKERS
def test_controls_that_are_below_leave_the_run_green_and_stand_in_the_report(
    controlled: Project, workers: str
) -> None:
    values(controlled, BELOW, explained_variance=0.9)
    assert controlled.run_apart(workers).ret == 0
    row = controlled.rows()["a explained_variance"]
    assert (row["verdict"], row["value"]) == ("pass", 0.9)
    assert [(each["control"], each["value"], each["holds"]) for each in row["controls"]] == [
        ("random", -1.2, True),
        ("identity", 1.0, None),
    ]


@WORKERS
def test_a_gate_on_a_metric_that_does_not_discriminate_fails_with_that_reason(
    controlled: Project, workers: str
) -> None:
    values(controlled, LEVEL, explained_variance=0.9, cosine=0.7, ravel=0.76)
    result = controlled.run_apart(workers, "-v")
    assert result.ret == 1
    result.assert_outcomes(passed=2, failed=1)
    line = (
        "cosine not discriminating here: 0.7000 is not above random, 0.6900, by 3 standard "
        "errors of the difference (0.0141 each) [[]a[]]"
    )
    result.stdout.fnmatch_lines([line, f"{line}  evals/thresholds.toml:*"])
    assert controlled.verdicts() == {
        "a explained_variance": "pass", "a cosine": "fail", "a ravel": "ungated",
    }  # fmt: skip


@WORKERS
def test_what_does_not_gate_is_shown_as_not_discriminating_and_is_not_red(
    controlled: Project, workers: str
) -> None:
    values(controlled, LEVEL, explained_variance=0.9, ravel=0.76)
    result = controlled.run_apart(workers, "-v")
    assert result.ret == 0
    told = (
        "ravel not discriminating here: 0.7600 is not above random, 0.7500, by 3 standard errors*"
    )
    result.stdout.fnmatch_lines([f"{told} [[]a[]]"])
    row = controlled.rows()["a ravel"]
    assert (row["verdict"], row["reason"]) == ("ungated", "noisy")
    assert row["controls"][0]["holds"] is False
    page = (controlled.path / "sae-report/report.html").read_text()
    assert "? not discriminating here" in page
    text = (controlled.path / "sae-report/report.md").read_text()
    assert "ravel not discriminating here" in text
    assert "| a | ravel | random | 0.7500 ± 0.0100 | must be worse, and is not surely |" in text


def test_a_bad_sae_fails_on_its_bound_and_not_on_its_controls(controlled: Project) -> None:
    values(controlled, {"explained_variance": {"random": ("below", -1.2)}}, explained_variance=-1.2)
    result = controlled.run("-v")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["explained_variance -1.2000 < min 0.5000 [[]a[]]"])


def test_without_controls_nothing_is_doubted(controlled: Project) -> None:
    values(controlled, LEVEL, explained_variance=0.9, cosine=0.7, ravel=0.76)
    for flag in ("--sae-controls=off", "--sae-suite=smoke", "--sae-controls=permuted_decoder"):
        assert controlled.run(flag).ret == 0, flag
    rows = controlled.rows()
    assert rows["a ravel"]["controls"] == []
    assert [each["control"] for each in rows["a cosine"]["controls"]] == ["permuted_decoder"]
    assert controlled.run("--sae-suite=smoke", "--sae-controls=cheap").ret == 1


def test_the_ini_key_is_read_and_the_command_line_wins(controlled: Project) -> None:
    values(controlled, LEVEL, cosine=0.7)
    controlled.write(
        "pytest.ini",
        "[pytest]\naddopts = -p no:cacheprovider\npythonpath = .\nsae_controls = off\n",
    )
    assert controlled.run().ret == 0
    assert controlled.run("--sae-controls=cheap").ret == 1


def test_a_known_failure_to_discriminate_can_be_declared(controlled: Project) -> None:
    values(controlled, LEVEL, explained_variance=0.9, cosine=0.7)
    controlled.tests(
        EVALS.format(names="'explained_variance', 'cosine'")
        .replace(
            "gate(core[metric])",
            "if metric == 'cosine':\n        request.applymarker(pytest.mark.xfail(reason='known'))"
            "\n    gate(core[metric])",
        )
        .replace("(core, gate, metric)", "(core, gate, metric, request)")
    )
    result = controlled.run()
    result.assert_outcomes(passed=1, xfailed=1)
    assert result.ret == 0


@WORKERS
def test_a_control_never_enters_a_baseline(controlled: Project, workers: str) -> None:
    values(controlled, BELOW, explained_variance=0.9)
    flags = (workers, "--sae-baseline=kept")
    assert controlled.run_apart(*flags, "--sae-baseline-update").ret == 0
    kept = json.loads(next((controlled.path / "kept").iterdir()).read_text())
    assert [(each["metric"], each["value"]) for each in kept["values"]] == [
        ("explained_variance", 0.9)
    ]
    assert "random" not in json.dumps(kept)
    assert controlled.run_apart(*flags).ret == 0
    assert controlled.run_apart(*flags, "--sae-controls=off").ret == 0


def test_an_improvement_that_does_not_discriminate_is_red(controlled: Project) -> None:
    values(controlled, {}, cosine=0.6)
    assert controlled.run("--sae-baseline=kept", "--sae-baseline-update").ret == 0
    values(controlled, LEVEL, cosine=0.7)
    assert controlled.run("--sae-baseline=kept").ret == 1
    assert controlled.rows()["a cosine"]["reason"].startswith("not discriminating here: ")


def test_compare_and_merge_say_what_the_run_said(
    controlled: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    values(controlled, LEVEL, explained_variance=0.9, cosine=0.7, ravel=0.76)
    assert controlled.run("--sae-report=before", "--sae-controls=off").ret == 0
    assert controlled.run("--sae-report=after").ret == 1
    before, after = controlled.path / "before", controlled.path / "after"
    assert main(["compare", str(after), str(before)]) == 0
    assert main(["compare", str(before), str(after)]) == 1
    assert "cosine not discriminating here: " in capsys.readouterr().out
    assert main(["merge", str(after), "--output", str(controlled.path / "merged")]) == 1
    both = [read(path) for path in (after, controlled.path / "merged")]
    assert both[0]["measurements"] == both[1]["measurements"]


def test_a_claim_that_a_control_holds_does_not_survive_merging(controlled: Project) -> None:
    values(controlled, LEVEL, explained_variance=0.9, cosine=0.7)
    assert controlled.run("--sae-report=after").ret == 1
    path = controlled.path / "after/report.json"
    report = whole_report(path)
    for row in report["measurements"]:
        row["verdict"], row["outcome"] = "pass", "passed"
        for control in row["controls"]:
            control["holds"] = True
    report |= {"verdict": "pass", "exit_status": 0, "tests": []}
    path.write_text(json.dumps(report))
    assert main(["merge", str(path), "--output", str(controlled.path / "merged")]) == 1
    rows = {row["metric"]: row for row in read(controlled.path / "merged")["measurements"]}
    assert rows["cosine"]["verdict"] == "fail"
    assert [each["holds"] for each in rows["cosine"]["controls"]] == [False, True]


def test_a_report_from_before_there_were_controls_can_be_compared(controlled: Project) -> None:
    values(controlled, {}, explained_variance=0.9)
    assert controlled.run("--sae-report=before").ret == 0
    path = controlled.path / "before/report.json"
    report = whole_report(path)
    for row in report["measurements"]:
        del row["controls"]
    path.write_text(json.dumps(report))
    assert main(["compare", str(path), str(path)]) == 0


def read(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = whole_report(directory / "report.json")
    return found


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("al", "one of off, cheap, all, random, permuted_decoder"),
        ("permuted", "Did you mean 'permuted_decoder'?"),
        ("random,pcb", "--sae-controls=pcb: expected one of random"),
        ("random,cheap", "--sae-controls=cheap: expected one of random"),
        ("", "--sae-controls= is empty"),
    ],
)
def test_a_control_that_there_is_not_is_a_usage_error(
    project: Project, value: str, says: str
) -> None:
    result = project.run(f"--sae-controls={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert says in result.stderr.str()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ((), None),
        (("--sae-controls=off",), "off"),
        (("--sae-controls=all",), "all"),
        (("--sae-controls=pca, random",), "random,pca"),
    ],
)
def test_what_is_asked_for_is_read(
    project: Project, typed: tuple[str, ...], expected: str | None
) -> None:
    config = project.pytester.parseconfig("-p", "pytest_sae.plugin", *typed)
    read: Options = read_options(config)
    assert read.controls == expected


@WORKERS
def test_what_bounds_below_the_arguments_are_relative_to_is_measured(
    project: Project, workers: str
) -> None:
    conftest = (project.path / "conftest.py").read_text()
    noted = "open('needed.txt', 'w').write(repr({k: sorted(v) for k, v in needed.items()}))"
    start = "        self.options, self.loads = options, []"
    project.write("conftest.py", conftest.replace(start, f"{start}\n        {noted}"))
    project.thresholds('[metrics.explained_variance]\nbound = { above = "random", by = "3 se" }\n')
    project.run(workers, ".")
    needed = (project.path / "needed.txt").read_text()
    assert needed == "{'explained_variance': ['random']}"
