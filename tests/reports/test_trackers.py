"""`pytest-sae log`: what real trackers keep of a report, offline."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_sae.cli import main
from pytest_sae.records.schema import write_report
from pytest_sae.reports.trackers import told_of, values_of
from tests.reports.examples import report

VALUES = {
    "topk/explained_variance": 0.612,
    "topk/explained_variance.se": 0.006,
    "topk/l0": 32.0,
    "topk/scr_n_10": 0.3,
    "topk/scr_n_2": -0.1,
    "topk/red": 2,
}


def log(tracker: str, directory: Path, **variables: str) -> str:
    """Log a report in a process of its own; return what it said."""
    pytest.importorskip(tracker, reason=f"the extra `{tracker}`")
    write_report(report(), directory / "sae-report")
    arguments = [
        "log",
        "sae-report",
        f"--to={tracker}",
        "--project=saes",
        "--run=first",
        "--step=7",
    ]
    done = subprocess.run(
        [sys.executable, "-c", f"from pytest_sae.cli import main; main({arguments})"],
        cwd=directory, env={**os.environ, **variables}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"6 values logged to {tracker}, project saes" in done.stdout
    return done.stdout


def test_names_are_of_letters_that_every_tracker_takes() -> None:
    assert values_of(report()) == VALUES
    assert all(re.fullmatch(r"[\w./-]+", name, re.ASCII) for name in (*VALUES, *told_of(report())))
    assert told_of(report())["topk/verdict"] == "fail"


def test_weights_and_biases_keeps_them(tmp_path: Path) -> None:
    log("wandb", tmp_path, WANDB_MODE="offline", WANDB_DIR=str(tmp_path))
    (kept,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    for said in (*VALUES, "0.612", "32", "topk/verdict"):
        assert said.encode() in kept.read_bytes()


def test_mlflow_keeps_them(tmp_path: Path) -> None:
    store = tmp_path / "store"
    log("mlflow", tmp_path, MLFLOW_TRACKING_URI=store.as_uri(), MLFLOW_ALLOW_FILE_STORE="true")
    for name, value in VALUES.items():
        (file,) = store.glob(f"*/*/metrics/{name}")
        _, kept, step = file.read_text().split()
        assert (float(kept), int(step)) == (value, 7)
    (verdict,) = store.glob("*/*/tags/topk/verdict")
    assert verdict.read_text() == "fail"


def test_trackio_keeps_them(tmp_path: Path) -> None:
    log("trackio", tmp_path, TRACKIO_DIR=str(tmp_path / "kept"))
    with sqlite3.connect(tmp_path / "kept" / "saes.db") as database:
        kept = database.execute("select run_name, step, metrics from metrics").fetchall()
    assert [(run, step) for run, step, _ in kept] == [("first", 7)]
    told = kept[0][2] if isinstance(kept[0][2], str) else kept[0][2].decode()
    assert '"topk/explained_variance":0.612' in told.replace(" ", "")


@pytest.mark.parametrize("tracker", ["wandb", "mlflow", "trackio"])
def test_a_tracker_that_is_not_installed_is_told_with_its_extra(
    tracker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write_report(report(), tmp_path)
    monkeypatch.setitem(sys.modules, tracker, None)
    assert main(["log", str(tmp_path), f"--to={tracker}"]) == 2
    assert f"pip install 'pytest-sae[{tracker}]'" in capsys.readouterr().err
