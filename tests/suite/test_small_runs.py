"""The shipped suite on little: the bundled SAE by default, and a user's own model and texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.labelled import labelled_data
from tests.suite.running import arguments_of, kill_when, started, suite
from tests.tiny import tiny_model, tiny_sae
from tests.whole import whole_report


@pytest.mark.whole
def test_the_default_run_evaluates_the_bundled_sae_and_says_so(tmp_path: Path, cache: str) -> None:
    run = suite(tmp_path, "--sae-suite=smoke", "-k", "explained_variance", cache)
    assert "the bundled one" in run.output
    assert run.code == 0, run.output
    assert [each["id"] for each in run.report["saes"]] == ["topk"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own model, SAEs and texts."""
    directory = tmp_path_factory.mktemp("tiny")
    tiny_model(directory / "model")
    labelled_data(directory)
    for name in ("first", "second"):
        tiny_sae(directory / name, model=str(directory / "model"), seed=len(name))
    return directory


def own(tiny: Path, *names: str) -> list[str]:
    saes = [f"--sae={tiny / name}" for name in names]
    return [*saes, f"--sae-data={tiny / 'tasks.toml'}", "--sae-suite=smoke", "--sae-cache=off"]


def test_own_texts_and_own_thresholds_are_used(tiny: Path, tmp_path: Path) -> None:
    bounds = tmp_path / "bounds.toml"
    bounds.write_text("version = 1\n[metrics.l0]\nmin = 5\nmax = 7\n")
    chosen = [*own(tiny, "first"), f"--sae-thresholds={bounds}", "-k", "l0 or explained"]
    run = suite(tmp_path, *chosen)
    assert run.code == 0, run.output
    assert run.row("first", "l0")["verdict"] == "pass"
    assert run.row("first", "explained_variance")["verdict"] == "ungated"


def test_a_corpus_that_is_missing_is_an_error_and_the_rest_is_measured(
    tiny: Path, tmp_path: Path
) -> None:
    text = (tiny / "tasks.toml").read_text()
    start, end = text.index("[corpus]"), text.index("[datasets")
    (tiny / "no_corpus.toml").write_text(text[:start] + text[end:])
    arguments = [each.replace("tasks.toml", "no_corpus.toml") for each in own(tiny, "first")]
    run = suite(tmp_path, *arguments)
    assert run.code == 1
    assert "[corpus]" in run.row("first", "explained_variance")["reason"]
    assert run.row("first", "tpp.canonical", n=20)["value"] is not None


@pytest.mark.whole
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_that_is_killed_keeps_what_it_measured_and_is_not_green(
    tiny: Path, tmp_path: Path, workers: str
) -> None:
    arguments = [*own(tiny, "first", "second"), "-n", workers]
    run = started(arguments_of(tmp_path, *arguments), tmp_path / "killed.txt")
    journal = tmp_path / "report" / "journal.jsonl"
    kill_when(run, lambda: journal.exists() and journal.read_text().count("\n") > 3)
    assert run.exitcode != 0
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    assert any('"value"' in json.dumps(row) for row in rows)
    report = whole_report(tmp_path / "report" / "report.json")
    assert report["complete"] is False
    assert report["verdict"] != "pass"
