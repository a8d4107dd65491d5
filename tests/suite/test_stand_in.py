"""The shipped suite on the bundled SAE without a flag: a stand-in judges."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import pytest

from pytest_sae import bundled_world
from pytest_sae.records.schema import read_report
from pytest_sae.reports.summary import judge_lines
from tests.models.test_embedder import tiny_encoder
from tests.suite.judged import METRICS, UNASKED
from tests.suite.running import Run, suite
from tests.whole import whole_report

pytestmark = pytest.mark.whole


def test_without_a_key_or_a_flag_the_bundled_sae_passes(standin: Run) -> None:
    assert standin.code == 0, standin.output
    assert standin.report["verdict"] == "partial"  # of what gates, -k chose a part
    rows = {row["metric"]: row for row in standin.report["measurements"]}
    assert set(rows) == METRICS
    assert {name for name, row in rows.items() if row["value"] is None} == UNASKED
    calibrated = {row["verdict"] for name, row in rows.items() if name.startswith("judge_")}
    assert calibrated == {"pass"}


def test_every_report_says_that_a_stand_in_judged(standin: Run, directory: Path) -> None:
    reports = directory / "report"
    (line,) = judge_lines(read_report(reports / "report.json"))
    assert line.startswith("judged by rules (bundled world only): word lists of the bundled texts ")
    assert line in standin.said
    assert line in (reports / "report.md").read_text()
    assert line in unescape((reports / "report.html").read_text())
    judges = whole_report(reports / "report.json")["environment"]["judges"]
    assert judges == {"rules (bundled world only)": {"kind": "rules", "mode": "live"}}


def test_what_a_stand_in_cannot_say_is_skipped_with_what_to_name(standin: Run) -> None:
    rows = [standin.row("topk", name) for name in sorted(UNASKED)]
    assert [row["reason"] for row in rows] == [
        "not applicable: no embedding model: --sae-embedder=PATH",
        "not applicable: no scorer model: --sae-scorer=PATH",
    ]
    assert {row["outcome"] for row in rows} == {"skipped"}


def test_a_scorer_and_an_embedder_make_their_figures(cache: str, tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path / "bert")
    models = (f"--sae-scorer={bundled_world() / 'model'}", f"--sae-embedder={encoder}")
    chosen = ("-k", "surprisal or embedding or failed", "--sae-suite=smoke")
    run = suite(tmp_path, *chosen, cache, *models)
    assert run.code == 0, run.output
    for name in UNASKED:
        row = run.row("topk", name)
        low, high = row["ci"]
        assert 0 <= low <= row["value"] <= high <= 1
        assert row["outcome"] == "passed"
