"""Feature absorption on the first-letter task of arXiv 2409.14507; lower is better."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measurements


@pytest.mark.sae_metric("absorption.canonical", "absorption.canonical.full")
def test_absorption_as_published(absorption: Measurements, metric: str, gate: Gate) -> None:
    gate(absorption[metric])


@pytest.mark.sae_family("absorption")
def test_absorption(absorption: Measurements, metric: str, gate: Gate) -> None:
    gate(absorption[metric])
