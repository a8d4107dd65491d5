"""SAEBench's result files as a baseline: canonical values alone, marked, and only where alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_sae.cli import main
from pytest_sae.errors import BaselineError
from pytest_sae.gate.baseline_file import read_baseline
from pytest_sae.records.row import values_of
from pytest_sae.records.schema import read_report, write_report
from tests.plugin.conftest import project
from tests.plugin.project import Project
from tests.plugin.test_baseline import made_with
from tests.reports.examples import report
from tests.reports.test_saebench import canonical, exported

__all__ = ["project"]

MEASURE = """
from pytest_sae import Estimate

def measure(family, sae):
    return [Estimate("scr.canonical", {value}, {{"n": 20}}, se=0.01), Estimate("l0", 32.0)]
"""
EVALS = """
import pytest

@pytest.mark.sae_metric("scr.canonical", n=[20])
def test_scr(scr, gate, metric):
    gate(scr[metric])

@pytest.mark.sae_metric("l0")
def test_l0(scr, gate, metric):
    gate(scr[metric])
"""
BOUNDS = """
[metrics."scr.canonical"]
min = 0.1
[metrics.l0]
max = 100
"""


def published(evaluation: str, metrics: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A result file as SAEBench 0.6 writes it, with what is read of it."""
    return {
        "eval_type_id": evaluation,
        "eval_config": {"random_seed": 42, "model_name": "gemma-2-2b"},
        "eval_result_metrics": metrics,
        "eval_result_details": [],
        "sae_lens_id": "layer_12/width_16k",
        "sae_lens_release_id": "gemma-scope",
        **more,
    }


SCR = published(
    "scr",
    {"scr_metrics": {
        "scr_dir1_threshold_20": 0.9, "scr_metric_threshold_2": -1.0,
        "scr_metric_threshold_20": 0.3, "scr_metric_threshold_50": None,
    }},
)  # fmt: skip


def read(directory: Path, document: object) -> dict[tuple[str, str], float]:
    path = directory / "x_eval_results.json"
    path.write_text(json.dumps(document))
    return {entry.key: entry.value for entry in read_baseline(path, "x").entries}


def test_values_with_a_canonical_counterpart_are_read_and_no_others(tmp_path: Path) -> None:
    sae = "gemma_scope_layer_12_width_16k"
    assert read(tmp_path, SCR) == {
        (sae, "scr.canonical:n=2"): -1.0, (sae, "scr.canonical:n=20"): 0.3,
    }  # fmt: skip
    core = {
        "sparsity": {"l0": 81.5, "l1": 3.0},
        "reconstruction_quality": {"explained_variance": 0.7, "mse": 2.0, "cossim": 0.9},
        "model_behavior_preservation": {"kl_div_score": -1.0},
    }
    assert read(tmp_path, published("core", core)) == {(sae, "l0"): 81.5, (sae, "cosine"): 0.9}
    probing = {"llm": {}, "sae": {"sae_top_1_test_accuracy": -1, "sae_top_5_test_accuracy": 0.8}}
    assert read(tmp_path, published("sparse_probing", probing)) == {
        (sae, "sparse_probing.canonical:k=5"): 0.8
    }


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"sae_lens_id": "custom_sae", "sae_lens_release_id": "mine"}, "mine"),
        ({"sae_lens_id": None, "sae_lens_release_id": None}, "x"),
        ({"sae_lens_id": "custom_sae", "sae_lens_release_id": ""}, "x"),
    ],
)
def test_an_sae_is_called_as_the_file_calls_it(
    tmp_path: Path, more: dict[str, Any], name: str
) -> None:
    assert {sae for sae, _ in read(tmp_path, {**SCR, **more})} == {name}


def test_what_is_exported_is_read_again(tmp_path: Path) -> None:
    exported(tmp_path, report(canonical()))
    for directory in (tmp_path / "results").iterdir():
        for entry in read_baseline(directory, "kept").entries:
            told = values_of(canonical()).get(entry.key, 0.1)  # of the curve, at n = 5
            assert entry.value == told
            assert entry.published.startswith(f"SAEBench {directory.name}")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (published("ravel", {"ravel": {"disentanglement_score": 0.5}}), "for 'ravel', of which no"),
        (published("scr", {"scr_metrics": {}}), "for scr without a value"),
        (published("scr", []), "of which no value has a counterpart"),  # type: ignore[arg-type]
        ({"eval_result_metrics": {}}, "for None"),
        (published("scr", {"scr_metrics": {"scr_metric_threshold_20": "0.3"}}), "without a value"),
    ],
)
def test_a_file_without_such_a_value_is_refused(
    tmp_path: Path, document: object, says: str
) -> None:
    with pytest.raises(BaselineError, match=says):
        read(tmp_path, document)


@pytest.fixture
def measured(project: Project) -> Project:
    """A project that measures 0.2 where 0.3 was published, with the sizes of the protocol."""
    project.thresholds(BOUNDS)
    project.write("measure.py", MEASURE.format(value=0.2))
    project.tests(EVALS)
    made_with(project, suite="paper/seed=0")
    (project.path / "eval_results.json").write_text(json.dumps(SCR))
    return project


BASELINE = "--sae-baseline=eval_results.json"


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_run_is_held_to_what_was_published_and_says_so(measured: Project, workers: str) -> None:
    result = measured.run_apart(workers, BASELINE)
    assert result.ret == 1
    assert measured.verdicts() == {"a scr.canonical 20": "regressed", "a l0": "pass"}
    told = measured.rows()["a scr.canonical 20"]["baseline"]
    assert told["value"] == 0.3
    assert told["source"].endswith("(published: SAEBench scr, model gemma-2-2b)")


def test_of_what_was_not_published_nothing_is_asked_in_ci_either(
    measured: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    measured.write("measure.py", MEASURE.format(value=0.31))
    assert measured.run(BASELINE).ret == 0
    assert measured.rows()["a l0"]["baseline"] is None
    assert measured.report()["problems"] == []


def test_other_sizes_than_the_published_are_not_compared(measured: Project) -> None:
    made_with(measured, suite="smoke/seed=0")
    result = measured.run(BASELINE)
    assert result.ret == 1
    row = measured.rows()["a scr.canonical 20"]
    assert row["verdict"] == "incomparable"
    assert "suite is smoke/seed=0, not paper" in row["reason"]


def test_a_published_file_among_own_baselines_asks_for_new_values_still(
    measured: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured.sae("b")
    kept = "--sae-baseline=kept"
    assert measured.run(kept, "--sae-baseline-update", sae="saes/b").ret == 0
    (measured.path / "kept/published.json").write_text(json.dumps(SCR))
    monkeypatch.setenv("CI", "true")
    assert measured.run(kept).ret == 1
    assert measured.verdicts()["a l0"] == "new"


def test_a_comparison_is_made_by_the_same_rule(measured: Project) -> None:
    measured.run()
    later = read_report(measured.path / "sae-report/report.json")
    write_report(later, measured.path / "later")
    assert main(["compare", "eval_results.json", "later", "--output=compared"]) == 1
    compared = read_report(measured.path / "compared/report.json")
    assert {row.key: row.verdict for row in compared.measurements} == {
        "scr.canonical:n=20": "regressed", "l0": "pass",
    }  # fmt: skip
    assert compared.problems == ()


def test_a_published_file_is_never_written(measured: Project) -> None:
    result = measured.run(BASELINE, "--sae-baseline-update")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "eval_results.json is SAEBench's" in result.stderr.str()
    assert json.loads((measured.path / "eval_results.json").read_text()) == SCR
