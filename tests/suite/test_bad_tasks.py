"""One bad task, or a file with one bad row, never takes the others with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.labelled import TASKS, labelled_data
from tests.suite.running import Run, suite
from tests.tiny import tiny_model, tiny_sae

pytestmark = pytest.mark.whole

FOUR = """
[datasets.few]
train = "few.jsonl"
test = "test.jsonl"
[[scr]]
name = "four_texts"
dataset = "few"
intended = { column = "job", positive = "baker", negative = "judge" }
spurious = { column = "gender", positive = "f", negative = "m" }
"""
BOUNDS = """
version = 1
[metrics.explained_variance]
min = -1000
[metrics."sparse_probing:k=5"]
min = 0.01
[metrics."scr.canonical"]
min = -1000
optional = true
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own model, SAE and texts, and a task of which one cell has four texts."""
    directory = tmp_path_factory.mktemp("few")
    tiny_model(directory / "model")
    labelled_data(directory)
    tiny_sae(directory / "sae", model=str(directory / "model"))
    rows = (directory / "train.jsonl").read_text().splitlines()
    cell = [row for row in rows if '"judge", "gender": "m"' in row]
    others = [row for row in rows if row not in cell]
    (directory / "few.jsonl").write_text("\n".join([*others, *cell[:4]]))
    (directory / "bounds.toml").write_text(BOUNDS)
    return directory


def run(directory: Path, tmp_path: Path, tasks: str, *arguments: str) -> Run:
    tmp_path.mkdir(exist_ok=True)
    (directory / "mine.toml").write_text(tasks)
    files = [f"--sae-data={directory / 'mine.toml'}", f"--sae-thresholds={directory}/bounds.toml"]
    fixed = [f"--sae={directory / 'sae'}", "--sae-suite=smoke", "--sae-cache=off"]
    return suite(tmp_path, *fixed, *files, *arguments)


def test_what_needs_no_tasks_is_measured_beside_a_task_of_four_texts(
    directory: Path, tmp_path: Path
) -> None:
    found = run(directory, tmp_path, TASKS + FOUR, "-k", "explained_variance")
    assert found.row("sae", "explained_variance")["value"] is not None
    assert found.code == 0, found.output


def test_other_tasks_are_measured_without_it_and_the_run_is_not_whole(
    directory: Path, tmp_path: Path
) -> None:
    bad = run(directory, tmp_path / "bad", TASKS + FOUR, "-k", "sparse_probing")
    good = run(directory, tmp_path / "good", TASKS, "-k", "sparse_probing")
    rows = [each.row("sae", "sparse_probing", k=5) for each in (bad, good)]
    assert rows[0]["value"] == rows[1]["value"] is not None
    assert (bad.code, bad.report["verdict"]) == (1, "incomplete")
    assert "measured without [[scr]] four_texts, which was left out" in bad.said
    assert "4 usable texts with job=judge, gender=m. Expected at least 10" in bad.said
    assert good.code == 0, good.output


def test_a_gating_metric_whose_only_task_is_bad_is_red_though_it_may_be_absent(
    directory: Path, tmp_path: Path
) -> None:
    alone = TASKS[: TASKS.index("[[scr]]")] + FOUR
    found = run(directory, tmp_path, alone, "-k", "scr or explained_variance")
    row = found.row("sae", "scr.canonical", n=20)
    assert (row["status"], row["verdict"]) == ("undefined", "unmeasured")
    assert "4 usable texts" in row["reason"]
    assert found.row("sae", "explained_variance")["verdict"] == "pass"
    assert found.code == 1
