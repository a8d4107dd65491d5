"""What the plugin costs a run that has no use for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.plugin.project import Project

_ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch", "numpy", "scipy", "pydantic", "transformers", "sae_lens", "sklearn", "safetensors",
    "litellm", "datasets",
)  # fmt: skip

PROGRAM = """
import sys
import pytest
code = pytest.main(sys.argv[1:])
print("LOADED", sorted(set({heavy}) & set(sys.modules)), code)
"""


def test_a_run_that_does_not_use_the_plugin_loads_nothing_heavy(project: Project) -> None:
    project.write("plain/test_plain.py", "def test_plain(): pass")
    project.write("conftest.py", "")
    command = [
        sys.executable,
        "-c",
        PROGRAM.format(heavy=HEAVY),
        "-p",
        "pytest_sae.plugin",
        "plain",
    ]
    done = subprocess.run(command, cwd=project.path, capture_output=True, text=True)
    assert "LOADED [] 0" in done.stdout


def test_collecting_sae_tests_loads_nothing_heavy(project: Project) -> None:
    project.write("conftest.py", "")
    program = PROGRAM.format(heavy=HEAVY)
    arguments = ["-p", "pytest_sae.plugin", "evals", "--sae=saes/a", "--collect-only"]
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=project.path, capture_output=True, text=True)
    assert "LOADED [] 0" in done.stdout


def test_loading_the_plugin_takes_less_than_thirty_milliseconds(tmp_path: Path) -> None:
    program = (
        "import time, pytest, enum, json, dataclasses; start = time.process_time();"
        "import pytest_sae.plugin, pytest_sae.controller;"
        "print(time.process_time() - start)"
    )
    # Compiled once, as it is wherever the package is installed.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONPATH": str(_ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", program]
    times = [
        float(subprocess.run(command, env=environment, capture_output=True, text=True).stdout)
        for _ in range(4)
    ]
    assert min(times) < 0.030
