"""Runs of the shipped suite in processes of their own, and what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SAES = ROOT / "fixtures" / "world" / "saes"


@dataclass(frozen=True)
class Run:
    """What a run of the suite left behind."""

    code: int
    output: str
    report: dict[str, Any]

    @property
    def said(self) -> str:
        """What it printed, with every run of white space as one space."""
        return " ".join(self.output.split())

    def row(self, sae: str, metric: str, **params: object) -> dict[str, Any]:
        rows = self.report["measurements"]
        wanted = (sae, metric, params)
        return next(r for r in rows if (r["sae"], r["metric"], r["params"]) == wanted)


def command(directory: Path, *arguments: str) -> list[str]:
    fixed = ["evals/", "--sae-report", str(directory / "report"), "-p", "no:cacheprovider"]
    return [sys.executable, "-m", "pytest", *fixed, *arguments]


def environment() -> dict[str, str]:
    hidden = {"CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def suite(directory: Path, *arguments: str, before: Sequence[str] = ()) -> Run:
    """Run the suite and read its report; `before` stands in front of the command."""
    done = subprocess.run(
        [*before, *command(directory, *arguments)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    path = directory / "report" / "report.json"
    report = json.loads(path.read_text()) if path.exists() else {}
    return Run(done.returncode, done.stdout + done.stderr, report)


def kill_when(process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    """Kill a process and those it started as soon as it is ready."""
    deadline = time.monotonic() + 300
    while not ready():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
