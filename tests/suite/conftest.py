"""What several runs of the shipped suite share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_sae import bundled_world
from pytest_sae.judge.rule_based import RuleBasedJudge
from pytest_sae.judge.rule_based.lexicon import load
from tests.suite.judged import JUDGED
from tests.suite.running import Run, suite


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One cache for all runs, those of other workers too."""
    mine = tmp_path_factory.getbasetemp()
    shared = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine
    return f"--sae-cache={shared / 'sae-cache'}"


@pytest.fixture(scope="session")
def rules() -> RuleBasedJudge:
    return RuleBasedJudge(load(bundled_world() / "lexicon.json"))


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("standin")


@pytest.fixture(scope="session")
def standin(directory: Path, cache: str) -> Run:
    """The bundled SAE with nobody named as judge."""
    return suite(directory, *JUDGED, cache)
