"""What the plugin costs a run that has no use for it."""

from __future__ import annotations

import subprocess
import sys

from tests.plugin.project import Project

HEAVY = (
    "torch", "numpy", "scipy", "pydantic", "transformers", "sae_lens", "sklearn", "safetensors",
    "litellm", "datasets", "jinja2",
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
