"""Runs of the shipped suite in processes of their own, and what they leave behind.

Importing torch, transformers and litellm costs more than most of these runs. A server process does
it once; each run is forked from there, with a working directory, an environment and an exit code
of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from pytest_sae.options import CI_VARIABLES
from tests.whole import whole_report

ROOT = Path(__file__).resolve().parents[2]
SAES = ROOT / "fixtures" / "world" / "saes"
SECONDS = 900

# Nothing of pytest_sae: a run imports it under pytest, as a user's does.
IMPORTED = ["torch", "scipy.stats", "transformers.modeling_utils", "sae_lens", "litellm"]
# Elsewhere a library may have begun what no fork survives: there each run imports for itself.
_server = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
_server.set_forkserver_preload(IMPORTED)


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


def arguments_of(directory: Path, *arguments: str) -> list[str]:
    fixed = ["evals/", "--sae-report", str(directory / "report"), "-p", "no:cacheprovider"]
    return [*fixed, *arguments]


def environment() -> dict[str, str]:
    hidden = {*CI_VARIABLES, "GITHUB_STEP_SUMMARY"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    fixed = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    return {**kept, **fixed}


def suite(directory: Path, *arguments: str, before: Sequence[str] = ()) -> Run:
    """Run the suite and read its report; `before` stands in front of the command."""
    given = arguments_of(directory, *arguments)
    code, output = commanded(before, given) if before else ran(given, directory / "output.txt")
    path = directory / "report" / "report.json"
    report = whole_report(path) if path.exists() else {}
    return Run(code, output, report)


def commanded(before: Sequence[str], arguments: Sequence[str]) -> tuple[int, str]:
    """Exit code and output of a command line."""
    done = subprocess.run(
        [*before, sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    return done.returncode, done.stdout + done.stderr


def ran(arguments: Sequence[str], output: Path, cwd: Path = ROOT) -> tuple[int, str]:
    """Exit code and output of a run of pytest."""
    run = started(arguments, output, cwd)
    run.join(SECONDS)
    if run.exitcode is None:
        killed(run)
    assert run.exitcode is not None
    return run.exitcode, output.read_text(errors="replace")


def started(arguments: Sequence[str], output: Path, cwd: Path = ROOT) -> BaseProcess:
    """A run of pytest that goes on by itself."""
    given = (list(arguments), environment(), str(output), str(cwd))
    run = _server.Process(target=_run, args=given)
    run.start()
    return run


def _run(arguments: list[str], variables: Mapping[str, str], output: str, cwd: str) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(cwd)
    with open(output, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(int(pytest.main(arguments)))


def kill_when(run: BaseProcess, ready: Callable[[], bool]) -> None:
    """Kill a process and those it started as soon as it is ready."""
    deadline = time.monotonic() + 300
    while not ready():
        assert run.is_alive(), "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed(run)


def killed(run: BaseProcess) -> None:
    assert run.pid is not None
    os.killpg(run.pid, signal.SIGKILL)
    run.join()
