"""What the plugin costs a run that has no use for it, and one that only collects."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.plugin.project import Project

HEAVY = {
    "torch", "numpy", "scipy", "pydantic", "transformers", "sae_lens", "sklearn", "safetensors",
    "litellm", "datasets", "jinja2",
}  # fmt: skip

#: What the plugin's hooks are made of; bounds, cards and records are not among them.
HOOKS = {
    "errors", "families", "numbers", "numbers.keys", "option_values", "options", "plugin",
    "records", "records.builtin", "run", "run.attaching", "run.controller", "run.families",
    "run.header", "run.hookspecs", "run.journal", "run.ledger", "run.narrowed", "run.nodeids",
    "run.previous_report", "run.run", "run.stopping", "run.told_once",
}  # fmt: skip
#: Rooms of which a measurement is made, or a report, and what judges one.
LATER = (
    "activations", "judge", "measure", "metrics", "models", "probes", "reports", "session",
    "gate.judged", "gate.verdict", "records.row", "records.schema", "records.report",
)  # fmt: skip

SHIPPED = Path(__file__).parents[2] / "evals"

PROGRAM = """
import json, sys, pytest
code = pytest.main(sys.argv[1:])
print(json.dumps([int(code), sorted(sys.modules)]))
"""


def loaded(where: Path, arguments: Iterable[str]) -> set[str]:
    """Return the modules that are loaded after a run, which must end well."""
    command = [sys.executable, "-c", PROGRAM, "-p", "pytest_sae.plugin", *arguments]
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=True)
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, done.stdout
    return set(modules)


def ours(modules: set[str]) -> set[str]:
    own = (name.partition(".") for name in modules if name.startswith("pytest_sae."))
    return {name for _, _, name in own}


def test_a_run_that_does_not_use_the_plugin_loads_its_hooks_alone(project: Project) -> None:
    project.write("plain/test_plain.py", "def test_plain(): pass")
    project.write("conftest.py", "")
    modules = loaded(project.path, ["plain"])
    assert not HEAVY & modules
    assert ours(modules) <= HOOKS


def test_collecting_sae_tests_loads_nothing_heavy(project: Project) -> None:
    project.write("conftest.py", "")
    assert not HEAVY & loaded(project.path, ["evals", "--sae=saes/a", "--collect-only"])


def test_collecting_the_shipped_suite_loads_nothing_heavy_and_nothing_that_measures(
    project: Project,
) -> None:
    arguments = [str(SHIPPED), "--sae=saes/a", "--collect-only", f"--rootdir={SHIPPED.parent}"]
    modules = loaded(project.path, [*arguments, "-p", "no:cacheprovider"])
    assert "evals.test_absorption" in modules
    assert not HEAVY & modules
    assert not {name for name in ours(modules) if name.startswith(LATER)}
