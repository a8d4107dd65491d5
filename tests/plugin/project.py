"""A small project with SAE tests, whose measurements are made by hand: no torch, no model."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.whole import whole_report

CONFTEST = """
import os, sys, types
from pytest_sae import Estimate, Measurement, not_applicable, undefined

class SAE:
    def __init__(self, spec):
        self.id = spec.id

class EvalSession:
    def __init__(self, options, progress, workers, needed):
        self.options, self.loads = options, []
    def load(self, spec):
        self.loads.append(spec.id)
        with open("loads.txt", "a") as file:
            file.write(f"load {spec.id} {os.getpid()}\\n")
        return SAE(spec)
    def release(self, sae):
        with open("loads.txt", "a") as file:
            file.write(f"release {sae.id} {os.getpid()}\\n")
    def model(self, sae):
        return "model"
    def latents(self, sae):
        return "latents"
    def measure(self, family, sae):
        from measure import measure
        seconds = os.getpid()
        return tuple(Measurement(sae.id, each, seconds) for each in measure(family, sae.id))
    def unmeasured(self, family, sae, reason):
        from pytest_sae import undefined
        return tuple(
            Measurement(each.sae, undefined(each.estimate.metric, reason, each.estimate.params))
            for each in self.measure(family + "-names", sae)
        )
    def describe(self):
        return {"device": "cpu", "models": {"m": "ff"}, "work": {"loads": self.loads}}
    def close(self):
        pass

sys.modules["pytest_sae.session.session"] = types.SimpleNamespace(EvalSession=EvalSession)
"""

MEASURE = """
from pytest_sae import Estimate

def measure(family, sae):
    if family == "core":
        return [
            Estimate("explained_variance", 0.91, se=0.01, ci=(0.89, 0.93), n={"texts": 40}),
            Estimate("l0", 32.5, n={"tokens": 900}),
        ]
    return [Estimate(family, 0.2 + n / 100, {"n": n}, se=0.02, n={"tasks": 4}) for n in (5, 20)]
"""

EVALS = """
import pytest

@pytest.mark.sae_metric("explained_variance", "l0")
def test_core(core, gate, metric):
    gate(core[metric])

@pytest.mark.sae_metric("scr", n=[5, 20])
def test_scr(scr, gate, metric):
    gate(scr[metric])
"""

THRESHOLDS = """
version = 1

[metrics.explained_variance]
min = 0.7

[metrics.l0]
min = 20
max = 120

[metrics.scr]
gate = false
reason = "noisy"
"""


class Project:
    """Files of a project below pytester's directory, and ways to run it."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.write("pytest.ini", "[pytest]\naddopts = -p no:cacheprovider\npythonpath = .\n")
        self.write("conftest.py", CONFTEST)
        self.write("measure.py", MEASURE)
        self.write("evals/test_evals.py", EVALS)
        self.write("evals/thresholds.toml", THRESHOLDS)
        self.sae("a")

    def write(self, name: str, text: str) -> Path:
        """Write a file, dedented."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    def sae(self, name: str) -> Path:
        """Make a directory that looks like an SAE as far as --sae is concerned."""
        self.write(f"saes/{name}/cfg.json", "{}")
        self.write(f"saes/{name}/sae_weights.safetensors", "")
        return self.path / "saes" / name

    def measures(self, body: str) -> None:
        """Set what is measured: the body of `measure(family, sae)`."""
        head = (
            "import pytest\nfrom pytest_sae import Estimate, no_data, unable\n"
            "from pytest_sae import not_applicable, undefined\n"
        )
        body = textwrap.indent(textwrap.dedent(body).strip("\n"), "    ")
        (self.path / "measure.py").write_text(f"{head}def measure(family, sae):\n{body}\n")

    def tests(self, text: str) -> None:
        """Set the eval tests."""
        self.write("evals/test_evals.py", text)

    def thresholds(self, text: str) -> None:
        """Set the bounds, without their version line."""
        self.write("evals/thresholds.toml", "version = 1\n" + textwrap.dedent(text))

    def run(self, *args: str, sae: str | None = "saes/a") -> pytest.RunResult:
        """Run pytest on the eval tests, in this process."""
        return self.pytester.runpytest_inprocess(*self._arguments(args, sae))

    def run_apart(self, *args: str, sae: str | None = "saes/a") -> pytest.RunResult:
        """Run pytest on the eval tests in a process of its own."""
        return self.pytester.runpytest_subprocess(*self._arguments(args, sae), timeout=120)

    def _arguments(self, args: tuple[str, ...], sae: str | None) -> tuple[str, ...]:
        named = any(
            not each.startswith("-") and Path(each.partition("::")[0]).exists() for each in args
        )
        chosen = [*([] if named else ["evals"]), *([f"--sae={sae}"] if sae else [])]
        return ("-p", "xdist", "-p", "pytest_sae.plugin", *chosen, *args)

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start pytest on the eval tests and SAE a in another process, with its own group."""
        plugins = ["-p", "xdist", "-p", "pytest_sae.plugin"]
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *plugins, "evals", "--sae=saes/a", *args],
            cwd=self.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def report(self) -> dict[str, Any]:
        """Return report.json."""
        report: dict[str, Any] = whole_report(self.path / "sae-report/report.json")
        return report

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return the rows of report.json by `sae metric n`, for a run without repeated keys."""
        return {
            " ".join([row["sae"], row["metric"], *map(str, row["params"].values())]): row
            for row in self.report()["measurements"]
        }

    def verdicts(self) -> dict[str, str]:
        """Return the verdicts of report.json by `sae metric n`."""
        return {key: row["verdict"] for key, row in self.rows().items()}
