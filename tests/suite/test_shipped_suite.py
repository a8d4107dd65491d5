"""The shipped suite as a user runs it, in processes of its own, on the bundled world."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.suite.running import SAES, Run, suite
from tests.timeless import without_times

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, cache: str) -> Run:
    """The bundled SAE and the spoiled one in one process."""
    saes = (f"--sae={SAES / 'topk'}", f"--sae={SAES / 'random'}")
    return suite(tmp_path_factory.mktemp("together"), *saes, cache)


def test_the_bundled_sae_passes_the_shipped_thresholds(together: Run) -> None:
    verdicts = {r["verdict"] for r in together.report["measurements"] if r["sae"] == "topk"}
    assert verdicts <= {"pass", "ungated"}, together.output
    assert "pass" in verdicts


def test_the_random_one_fails_with_a_complete_reason(together: Run) -> None:
    assert together.code == 1
    assert together.report["complete"] is True
    assert together.report["verdict"] == "fail"
    assert together.row("random", "explained_variance")["verdict"] == "fail"
    told = r"explained_variance -1\.\d+ < 0\.\d+, 0\.99 of the way from 0 to pca 0\.\d+ \[random\]"
    assert re.search(told, together.said)


def test_whatever_gates_tells_the_trained_from_the_random_one(together: Run) -> None:
    for metric, params in (
        ("explained_variance", {}),
        ("ce_recovered", {}),
        ("ravel", {}),
        ("principled.sufficiency", {}),
        ("principled.control", {"k": 2}),
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
    assert "not discriminating here, and not gated: " in together.said


def test_the_random_one_fails_on_its_bounds_and_not_on_its_controls(together: Run) -> None:
    failed = {
        row["metric"]: row["reason"]
        for row in together.report["measurements"]
        if row["sae"] == "random" and row["verdict"] == "fail"
    }
    assert {"explained_variance", "ce_recovered"} <= set(failed)
    assert not any("not discriminating" in reason for reason in failed.values()), failed


def test_two_workers_write_the_same_report_to_the_bit(
    together: Run, tmp_path: Path, cache: str
) -> None:
    saes = (f"--sae={SAES / 'topk'}", f"--sae={SAES / 'random'}")
    # A cache of its own: the workers start cold, and have to share it.
    apart = suite(tmp_path, *saes, "-n", "2", f"--sae-cache={tmp_path / 'cache'}")
    assert without_times(apart.report) == without_times(together.report)
