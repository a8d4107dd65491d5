"""The shipped suite on another model than the bundled one, where nobody is named to judge."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.labelled import labelled_data
from tests.suite.judged import METRICS
from tests.suite.running import suite
from tests.tiny import tiny_model, tiny_sae


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A user's own model, SAE, texts and bounds, as arguments."""
    directory = tmp_path_factory.mktemp("own")
    model = tiny_model(directory / "model")
    labelled_data(directory)
    sae = tiny_sae(directory / "sae", model=str(model))
    bounds = directory / "bounds.toml"
    bounds.write_text("version = 1\n[metrics.l0]\nmin = 5\nmax = 7\n")
    data = f"--sae-data={directory / 'tasks.toml'}"
    chosen = ("-k", "shift or autointerp or judge or l0", "--sae-suite=smoke", "--sae-cache=off")
    return [f"--sae={sae}", data, f"--sae-thresholds={bounds}", *chosen]


def test_without_a_judge_another_model_is_measured_and_the_judged_tests_are_skipped(
    own: list[str], tmp_path: Path
) -> None:
    run = suite(tmp_path, *own, "-rs")
    assert run.code == 0, run.output
    assert run.row("sae", "l0")["verdict"] == "pass"
    rows = {row["metric"]: row for row in run.report["measurements"] if row["metric"] != "l0"}
    assert set(rows) == METRICS
    told = {(row["outcome"], row["value"], row["reason"]) for row in rows.values()}
    reason = "no judge: name one with --sae-judge=MODEL (README, A judge)"
    assert told == {("skipped", None, f"not applicable: {reason}")}
    assert f"not applicable: {reason}" in run.said
    assert "judged by" not in run.output


def test_the_stand_in_is_refused_for_another_model(own: list[str], tmp_path: Path) -> None:
    run = suite(tmp_path, *own, "--sae-judge=rules")
    assert run.code == 1
    assert run.row("sae", "l0")["verdict"] == "pass"
    rows = [row for row in run.report["measurements"] if row["metric"] != "l0"]
    assert {(row["verdict"], row["value"]) for row in rows} == {("unmeasured", None)}
    assert "It knows the words of the bundled world and nothing else. Expected a" in run.said
    assert "judged by rules" not in run.output
