"""The shipped suite as a user runs it, in processes of its own, on the bundled world."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.labelled import labelled_data
from tests.suite.running import ROOT, SAES, Run, command, environment, kill_when, suite
from tests.timeless import without_times
from tests.tiny import tiny_model, tiny_sae


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"--sae-cache={tmp_path_factory.mktemp('cache')}"


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, cache: str) -> Run:
    """The bundled SAE and the spoiled one in one process."""
    saes = (f"--sae={SAES / 'topk'}", f"--sae={SAES / 'random'}")
    return suite(tmp_path_factory.mktemp("together"), *saes, cache)


def test_the_bundled_sae_passes_the_shipped_thresholds(together: Run) -> None:
    verdicts = {r["verdict"] for r in together.report["measurements"] if r["sae"] == "topk"}
    assert verdicts <= {"pass", "ungated"}, together.output
    assert "pass" in verdicts


def test_the_random_one_fails_with_a_complete_first_line(together: Run) -> None:
    assert together.code == 1
    assert together.report["complete"] is True
    assert together.report["verdict"] == "fail"
    assert together.row("random", "explained_variance")["verdict"] == "fail"
    lines = together.output.splitlines()
    line = next(line for line in lines if line.startswith("explained_variance "))
    assert " < min " in line
    assert line.endswith("[random]")


def test_whatever_gates_tells_the_trained_from_the_random_one(together: Run) -> None:
    for metric, params in (
        ("explained_variance", {}),
        ("ce_recovered", {}),
        ("ravel", {}),
        ("principled.sufficiency", {}),
        ("principled.control", {"k": 2}),
        ("tpp.rescaled", {"n": 20}),
    ):
        good, bad = (together.row(sae, metric, **params) for sae in ("topk", "random"))
        assert good["ci"][0] > bad["ci"][1], (metric, good["ci"], bad["ci"])


def test_every_value_says_how_precise_it_is_and_on_what_it_rests(together: Run) -> None:
    rows = [row for row in together.report["measurements"] if row["value"] is not None]
    assert len(rows) > 60
    for row in rows:
        assert row["se"] is not None, row["metric"]
        assert row["ci"][0] <= row["value"] <= row["ci"][1], (row["metric"], row["ci"])
        assert row["n"], row["metric"]


def test_whatever_gates_tells_the_trained_one_from_its_controls(together: Run) -> None:
    for row in together.report["measurements"]:
        if row["sae"] == "topk" and row["verdict"] == "pass":
            assert all(each["holds"] is not False for each in row["controls"]), row["metric"]
    for metric in ("explained_variance", "ce_recovered", "cosine"):
        held = [each["holds"] for each in together.row("topk", metric)["controls"]]
        assert held.count(True) == 3, metric


def test_tpp_is_shown_not_to_discriminate_and_is_not_red(together: Run) -> None:
    row = together.row("topk", "tpp.margin", n=20)
    assert row["verdict"] == "ungated"
    random = next(each for each in row["controls"] if each["control"] == "random")
    assert random["holds"] is False
    assert "tpp.margin:n=20 not discriminating here: " in together.output


def test_the_random_one_fails_on_its_bounds_and_not_on_its_controls(together: Run) -> None:
    failed = [
        row["reason"]
        for row in together.report["measurements"]
        if row["sae"] == "random" and row["verdict"] == "fail"
    ]
    assert len(failed) >= 5
    assert all(" < min " in reason or " > max " in reason for reason in failed), failed


def test_two_workers_write_the_same_report_to_the_bit(
    together: Run, tmp_path: Path, cache: str
) -> None:
    saes = (f"--sae={SAES / 'topk'}", f"--sae={SAES / 'random'}")
    # A cache of its own: the workers start cold, and have to share it.
    apart = suite(tmp_path, *saes, "-n", "2", f"--sae-cache={tmp_path / 'cache'}")
    assert without_times(apart.report) == without_times(together.report)


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


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_that_is_killed_keeps_what_it_measured_and_is_not_green(
    tiny: Path, tmp_path: Path, workers: str
) -> None:
    arguments = [*own(tiny, "first", "second"), "-n", workers]
    process = subprocess.Popen(
        command(tmp_path, *arguments),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    journal = tmp_path / "report" / "journal.jsonl"
    kill_when(process, lambda: journal.exists() and journal.read_text().count("\n") > 3)
    assert process.returncode != 0
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    assert any('"value"' in json.dumps(row) for row in rows)
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["complete"] is False
    assert report["verdict"] != "pass"
