"""Whatever a run dies of, and wherever: it is not green, and nothing is lost.

It can be gone on with to the report of an unbroken run, with the cache that it left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.labelled import labelled_data
from tests.suite.running import ran, started
from tests.timeless import without_times
from tests.tiny import tiny_model, tiny_sae
from tests.whole import whole_report

# On demand, -m "whole and slow"; CI kills runs in test_small_runs.py and plugin/test_resume.py.
pytestmark = [pytest.mark.whole, pytest.mark.slow]
TESTS = ("evals/test_scr.py", "evals/test_sparse_probing.py")
KILLED = [
    ("model pass", "death"),
    ("encode", "death"),
    ("fit", "death"),
    ("cache write", "death"),
    ("cache rename", "death"),
    ("journal write", "half a line and death"),
]
REFUSED = [("cache write", "no space"), ("fit", "no memory"), ("encode", "no memory")]
FAULTS = [pytest.param(*each, id=" ".join(each)) for each in (*KILLED, *REFUSED)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("faults")
    tiny_model(directory / "model")
    labelled_data(directory)
    for seed, name in enumerate(("first", "second")):
        tiny_sae(directory / name, model=str(directory / "model"), seed=seed)
    return directory


@pytest.fixture(scope="module")
def unbroken(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return evaluated(tiny, tmp_path_factory.mktemp("unbroken"))


def given(tiny: Path, directory: Path, *more: str) -> list[str]:
    saes = [f"--sae={tiny / name}" for name in ("first", "second")]
    places = [f"--sae-report={directory / 'report'}", f"--sae-cache={directory / 'cache'}"]
    fixed = ["--sae-no-gate", "--sae-suite=smoke", f"--sae-data={tiny / 'tasks.toml'}"]
    plugins = ["-p", "no:cacheprovider", "-p", "tests.suite.fault"]
    return [*TESTS, *saes, *places, *fixed, *plugins, *more]


def report(directory: Path) -> dict[str, Any]:
    told: dict[str, Any] = whole_report(directory / "report" / "report.json")
    return told


def evaluated(tiny: Path, directory: Path, *more: str) -> dict[str, Any]:
    ran(given(tiny, directory, *more), directory / "output.txt")
    return report(directory)


def comparable(told: dict[str, Any]) -> dict[str, Any]:
    kept = without_times(told)
    return {**kept, "options": {**kept["options"], "resume": None}}


@pytest.mark.parametrize(("place", "what"), FAULTS)
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_that_fails_anywhere_is_not_green_and_can_be_gone_on_with(
    tiny: Path,
    unbroken: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    what: str,
    workers: str,
) -> None:
    (tmp_path / "fault").touch()
    monkeypatch.setenv("FAULT", f"{place},{what},{tmp_path / 'fault'}")
    code, output = ran(given(tiny, tmp_path, "-n", workers), tmp_path / "output.txt")
    assert not (tmp_path / "fault").exists(), output
    assert code != 0, output
    broken = report(tmp_path)
    assert broken["complete"] is False or broken["verdict"] != "pass", output
    monkeypatch.delenv("FAULT")
    resumed = evaluated(tiny, tmp_path, "-n", workers, "--sae-resume")
    assert comparable(resumed) == comparable(unbroken)


def test_two_runs_that_begin_together_on_one_cold_cache_write_the_same(
    tiny: Path, unbroken: dict[str, Any], tmp_path: Path
) -> None:
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        arguments = [*given(tiny, tmp_path / name), f"--sae-cache={tmp_path / 'cache'}"]
        runs.append(started(arguments, tmp_path / name / "output.txt"))
    for run in runs:
        run.join(300)
        assert run.exitcode == 0
    for name in ("one", "two"):
        assert comparable(report(tmp_path / name)) == comparable(unbroken)
