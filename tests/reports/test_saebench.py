"""`pytest-sae export --format saebench`: canonical values under their published names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_sae.cli import main
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.schema import write_report
from tests.reports.examples import report, row

CURVE = {"5": {"value": 0.1}, "20": {"value": 0.3}, "500": {"value": None}}
LETTERS = {
    "A": {"absorption": 0.1, "full": 0.0, "split_latents": 1.0},
    "B": {"absorption": 0.3, "full": 0.2, "split_latents": 2.0},
}


def canonical() -> list[Row]:
    letters = {"letters": LETTERS}
    estimates = [
        Estimate("scr.canonical", 0.3, {"n": 20}, se=0.05, details={"curve": CURVE}),
        Estimate("tpp.canonical", 0.02, {"n": 20}),
        Estimate("absorption.canonical", 0.2, details=letters),
        Estimate("absorption.canonical.full", 0.1, details=letters),
        Estimate("sparse_probing.last_token.canonical.auc", 0.8, {"k": 5}),
        Estimate("sparse_probing.canonical", 0.7, {"k": 1}),
        Estimate("explained_variance", 0.9),
    ]
    marks = {"suite": "paper/seed=0", "data": "d"}
    return [replace(row(each), fingerprints=marks) for each in estimates]


def exported(directory: Path, whole: Report) -> dict[str, dict[str, Any]]:
    """The files of an export, by the directory that they stand in."""
    write_report(whole, directory)
    output = directory / "results"
    assert main(["export", str(directory), "--format=saebench", f"--output={output}"]) == 0
    files = sorted(output.rglob("*.json"))
    assert {file.name for file in files} == {"topk_custom_sae_eval_results.json"}
    return {file.parent.name: json.loads(file.read_text()) for file in files}


def test_each_value_stands_under_its_published_name(tmp_path: Path) -> None:
    found = exported(tmp_path, report(canonical()))
    assert {name: each["eval_result_metrics"] for name, each in found.items()} == {
        "scr": {"scr_metrics": {"scr_metric_threshold_5": 0.1, "scr_metric_threshold_20": 0.3}},
        "tpp": {"tpp_metrics": {"tpp_threshold_20_total_metric": 0.02}},
        "sparse_probing_sae_probes": {"sae": {"sae_top_5_test_auc": 0.8}},
        "absorption_first_letter": {
            "mean": {
                "mean_absorption_fraction_score": 0.2,
                "mean_full_absorption_score": 0.1,
                "mean_num_split_features": 1.5,
                "std_dev_absorption_fraction_score": pytest.approx(0.02**0.5),
                "std_dev_full_absorption_score": pytest.approx(0.02**0.5),
                "std_dev_num_split_features": pytest.approx(0.5**0.5),
            }
        },
    }
    assert all(each["eval_type_id"] == name for name, each in found.items())


def test_a_file_says_who_measured_it_and_how_well(tmp_path: Path) -> None:
    told = exported(tmp_path, report(canonical()))["scr"]
    more = told["eval_result_unstructured"]
    assert more["measured_by"].startswith("pytest-sae ")
    assert more["standard_errors"] == {"scr_metric_threshold_20": 0.05}
    assert more["fingerprints"]["suite"] == "paper/seed=0"
    assert told["sae_lens_release_id"] == "topk"
    assert told["datetime_epoch_millis"] == 1767225600000


def test_the_same_report_gives_the_same_files(tmp_path: Path) -> None:
    assert exported(tmp_path, report(canonical())) == exported(tmp_path, report(canonical()))


def test_absorption_of_one_letter_has_no_spread_and_so_no_file(tmp_path: Path) -> None:
    one = {"letters": {"A": LETTERS["A"]}}
    rows = [
        replace(each, details=one) if "absorption" in each.metric else each for each in canonical()
    ]
    assert "absorption_first_letter" not in exported(tmp_path, report(rows))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [([], "Expected --output=DIR"), (["--output=out"], "no value of scr, tpp")],
)
def test_what_cannot_be_exported_is_told(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_report(report(), tmp_path)
    assert main(["export", str(tmp_path), "--format=saebench", *arguments]) == 2
    assert says in capsys.readouterr().err
