"""What tests of the judged suite share: what is asked for, of whom, and what came of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_sae.data.calibration import calibration_texts
from pytest_sae.judge.calibration.contexts import known
from pytest_sae.judge.calibration.latent_rules import RULES
from pytest_sae.judge.calibration.requests import first
from tests.judge.provider import Asked
from tests.suite.running import Run

MODEL = "openai/rules-behind-http"
JUDGED = ("-k", "shift or autointerp or judge", "--sae-suite=smoke")
CALIBRATION = ("-k", "judge_calibration", "--sae-suite=smoke")
METRICS = {
    "judge_calibration.explain", "judge_calibration.score", "judge_calibration.rate",
    "judge_calibration.injection", "shift", "shift.margin", "shift.worst_cell",
    "shift.worst_cell.recentred", "shift.worst_cell.refit", "shift.agreement", "shift.accepted",
    "shift.abstained", "autointerp.detection", "autointerp.fuzzing", "autointerp.surprisal",
    "autointerp.embedding", "autointerp.intervention", "autointerp.failed",
}  # fmt: skip
UNASKED = {"autointerp.surprisal", "autointerp.embedding"}


def asking(url: str, *flags: str) -> list[str]:
    return [f"--sae-judge={MODEL}", f"--sae-judge-api-base={url}", *flags]


def replaying(recording: Path, *flags: str) -> list[str]:
    mode = ["--sae-judge-mode=replay", f"--sae-judge-recordings={recording}"]
    return [f"--sae-judge={MODEL}", *mode, *flags]


def figures(run: Run, sae: str = "topk") -> dict[str, tuple[object, ...]]:
    """What was measured, without who judged and what asking cost."""
    return {
        row["metric"]: (row["value"], row["se"], row["ci"], row["n"], anonymous(row["details"]))
        for row in run.report["measurements"]
        if row["sae"] == sae
    }


def anonymous(details: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in details.items() if name not in ("judge", "kind", "spent")}


def line_question(line: str) -> str:
    return str(json.loads(line)["messages"][1]["content"])


def calibrating(*kinds: str) -> set[str]:
    """What a judge is asked before anything else, except what its own explanations lead to."""
    latents = known(calibration_texts(), RULES, seed=0)
    asked = [first(latent) for latent in latents]
    return {each[kind].messages[1].content for each in asked for kind in (kinds or each)}


def question(asked: Asked) -> str:
    return str(asked.body["messages"][1]["content"])
