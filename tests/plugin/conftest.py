"""The project that the plugin's tests run."""

from __future__ import annotations

from pathlib import Path

import pytest

# Loaded here once: pytester unloads after every run what that run has imported.
import pytest_sae.records.measurement
import pytest_sae.reports.write
import pytest_sae.run.scheduler  # noqa: F401
from pytest_sae.options import CI_VARIABLES
from tests.plugin.project import Project


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with one SAE that passes; without the environment of a CI service."""
    for name in (*CI_VARIABLES, "GITHUB_STEP_SUMMARY", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    # As in a log: lines are as long as they are.
    monkeypatch.delenv("COLUMNS", raising=False)
    # These tests may run in a worker; what they run does not.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    # Only what is named: the plugins of whoever runs these tests would slow down every run.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    # For where the package is not installed: tests run from its directory.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return Project(pytester)
