"""Shards, one of which is not what it should be: the merged report is held to its verdict.

Four of the five places are those of the merged report: the exit status of `merge`, its report.json,
and `merge` and `compare` of that report once more. No command writes a JUnit file.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.plugin.project import Project
from tests.verdicts.places import CORE, RULES, command, good_report
from tests.whole import whole_report

Report = dict[str, Any]
SAME = {"data": "d", "suite": "s"}
NO_PLAN = {"items": [], "narrowed": []}


def of(changes: dict[str, object]) -> Callable[[Report], None]:
    return lambda report: report.update(copy.deepcopy(changes))


def of_rows(**changes: object) -> Callable[[Report], None]:
    def spoil(report: Report) -> None:
        for row in report["measurements"]:
            row.update(copy.deepcopy(changes))

    return spoil


def again(report: Report, **changes: object) -> None:
    """One more row, like the first."""
    report["measurements"].append({**report["measurements"][0], **changes})


def marked(kind: str) -> Callable[[Report], None]:
    return of_rows(fingerprints={kind: "other"})


def both(*spoils: Callable[[Report], None]) -> Callable[[Report], None]:
    def spoil(report: Report) -> None:
        for each in spoils:
            each(report)

    return spoil


UNGATED = {"verdict": "ungated", "rule": None, "reason": "no rule"}
GUEST = {"kind": "family", "sae": "b", "name": "guest", "by": "--sae-require"}
OTHER_BOUNDS = [{"file": "evals/thresholds.toml", "sha256": "f" * 64}]
#: What is done to the second of two shards, the verdict of both together, and what is said.
SHARDS: dict[str, tuple[Callable[[Report], None], str, str]] = {
    "nothing": (lambda report: None, "pass", ""),
    "no rows": (of({"measurements": []}), "incomplete", "l0 of b gates by"),
    "no rows and no plan": (
        of({"measurements": [], "plan": NO_PLAN}),
        "incomplete",
        "no metric of b was judged",
    ),
    "ungated rows alone": (of_rows(**UNGATED), "incomplete", "l0 of b gates by"),
    "ungated rows alone and no plan": (
        both(of_rows(**UNGATED), of({"plan": NO_PLAN})),
        "incomplete",
        "no metric of b was judged",
    ),
    "other bounds": (of({"thresholds": OTHER_BOUNDS}), "incomplete", "different bounds"),
    "another version": (
        of({"versions": {"pytest-sae": "9.9"}}),
        "incomplete",
        "different the package",
    ),
    "other texts": (marked("data"), "incomplete", "different texts: data is"),
    "another suite": (marked("suite"), "incomplete", "different texts: suite is"),
    "another model": (of({"models": {"m": "other"}}), "incomplete", "different models: m is"),
    "other options": (
        lambda report: report["options"].update(seed=7),
        "incomplete",
        "different seed",
    ),
    "two rows that disagree": (
        lambda report: again(report, value=0.8),
        "incomplete",
        "was measured more than once, and differently",
    ),
    "a row of an SAE that nobody named": (
        lambda report: again(report, sae="z"),
        "incomplete",
        "there are rows of z, which no report was about",
    ),
    "rows of another SAE": (of_rows(sae="a"), "incomplete", "l0 of b gates by"),
    "a verdict that its value does not bear out": (of_rows(value=0.1), "fail", "0.1000 < min"),
    "a value that is none": (of_rows(value=None), "incomplete", "no value"),
    "an exit status of 2": (of({"exit_status": 2}), "incomplete", "its exit status was 2"),
    "an exit status of none": (of({"exit_status": -1}), "incomplete", "its exit status was -1"),
    "a verdict of fail": (
        of({"verdict": "fail", "exit_status": 1}),
        "incomplete",
        "it says fail, and nothing in it says why",
    ),
    "a test that failed": (
        of({"tests": [{"nodeid": "t.py::t", "sae": "b", "outcome": "failed", "reason": "no"}]}),
        "fail",
        "t.py::t failed: no",
    ),
    "a test that was lost": (
        of({"tests": [{"nodeid": "t.py::t", "sae": "b", "outcome": "crashed", "reason": "gone"}]}),
        "incomplete",
        "t.py::t crashed: gone",
    ),
    "that it is not complete": (of({"complete": False}), "incomplete", "shard 2/2: incomplete"),
    "a problem": (of({"problems": ["a disk was full"]}), "incomplete", "a disk was full"),
    "to measure a family that is not installed here": (
        lambda report: report["plan"]["items"].append(GUEST),
        "incomplete",
        "guest of b is required (--sae-require), and was not measured",
    ),
    "number 0/0": (
        of({"shard": {"which": 0, "count": 0, "saes": ["a", "b"]}}),
        "incomplete",
        "shard 0/0 is none",
    ),
    "the number of the first": (
        of({"shard": {"which": 1, "count": 2, "saes": ["a", "b"]}}),
        "incomplete",
        "shard 2/2 is absent",
    ),
    "the number of a third": (
        of({"shard": {"which": 3, "count": 3, "saes": ["a", "b"]}}),
        "incomplete",
        "shard 2/3 is absent",
    ),
    "an SAE that is in no report": (
        of({"shard": {"which": 2, "count": 2, "saes": ["a", "b", "c"]}}),
        "incomplete",
        "no report is about c",
    ),
    "that it is no shard": (of({"shard": None}), "incomplete", "not all reports are shards"),
}


@pytest.fixture
def shards(project: Project) -> dict[str, Report]:
    """Both shards of a run that passed."""
    if not _SHARDS:
        project.sae("b")
        project.tests(CORE)
        project.thresholds(RULES)
        for which in ("1", "2"):
            flags = (f"--sae-shard={which}/2", f"--sae-report={which}")
            assert project.run(*flags, sae="saes/*").ret == 0
            report = whole_report(Path(which, "report.json"))
            of_rows(fingerprints=SAME)(report)
            _SHARDS[which] = report
    return copy.deepcopy(_SHARDS)


_SHARDS: dict[str, Report] = {}


def good(project: Project) -> Path:
    """A good run of the same SAEs, on the same texts."""
    path = good_report(project)
    report = whole_report(path / "report.json")
    of_rows(fingerprints=SAME)(report)
    (path / "report.json").write_text(json.dumps(report))
    return path


@pytest.mark.parametrize("what", SHARDS)
def test_shards_one_of_which_has(what: str, project: Project, shards: dict[str, Report]) -> None:
    project.sae("b")
    spoil, verdict, told = SHARDS[what]
    spoil(shards["2"])
    for name, report in shards.items():
        Path(name).mkdir(exist_ok=True)
        Path(name, "report.json").write_text(json.dumps(report))
    merged = command("merge", "1", "2", "--output=merged")
    again = command("merge", "merged", "--output=again")
    compared = command("compare", str(good(project)), "merged", "--output=compared")
    for place in (merged, again, compared):
        assert (place.status == 0) == (verdict == "pass"), place
        assert told in place.text, place
        assert place.complete or place.verdict != "pass", place
    # Against another run what was made otherwise is no longer unjudged: it fails.
    assert {merged.verdict, again.verdict} == {verdict}


def test_a_shard_that_is_absent(project: Project, shards: dict[str, Report]) -> None:
    Path("1").mkdir(exist_ok=True)
    Path("1", "report.json").write_text(json.dumps(shards["1"]))
    merged = command("merge", "1", "--output=merged")
    assert (merged.status, merged.verdict, merged.complete) == (1, "incomplete", False)
    assert "shard 2/2 is absent" in merged.text
