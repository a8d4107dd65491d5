"""The shipped suite on the bundled SAE, killed half-way and gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_sae.run.journal import read_journal
from tests.suite.running import SAES, Run, arguments_of, kill_when, started, suite
from tests.timeless import without_times

pytestmark = [pytest.mark.whole, pytest.mark.slow]


@pytest.fixture(scope="module")
def arguments(cache: str) -> list[str]:
    return [f"--sae={SAES / 'topk'}", "--sae-suite=smoke", cache]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, arguments: list[str]) -> Run:
    return suite(tmp_path_factory.mktemp("unbroken"), *arguments)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_that_was_killed_half_way_ends_with_the_report_of_an_unbroken_one(
    unbroken: Run, arguments: list[str], workers: str, tmp_path: Path
) -> None:
    parallel = [*arguments, "-n", workers]
    run = started(arguments_of(tmp_path, *parallel), tmp_path / "killed.txt")
    kill_when(run, lambda: len(ended(tmp_path)) > 75)  # of some 150
    before = ended(tmp_path)
    resumed = suite(tmp_path, *parallel, "--sae-resume")
    assert f"resumed: {len(before)} tests are taken from" in resumed.said
    assert resumed.code == unbroken.code
    assert comparable(resumed) == comparable(unbroken)


def ended(directory: Path) -> set[str]:
    journal = directory / "report" / "journal.jsonl"
    events = read_journal(journal) if journal.exists() else []
    return {each["nodeid"] for each in events if each["event"] == "test"}


def comparable(run: Run) -> dict[str, Any]:
    told = without_times(run.report)
    return {**told, "options": {**told["options"], "resume": None}}
