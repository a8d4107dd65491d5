"""What a dictionary's rows and codes share, what they cost to send, and how few carry a concept."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measurements


@pytest.mark.sae_metric("live_share", "coherence", "duplicate_share", "coactivation")
def test_independence(structure: Measurements, metric: str, gate: Gate) -> None:
    gate(structure[metric])


@pytest.mark.sae_family("structure")
def test_rows(structure: Measurements, metric: str, gate: Gate) -> None:
    gate(structure[metric])


@pytest.mark.sae_metric("mdl", "mdl.latents", "mdl.residual")
def test_description_length(structure: Measurements, metric: str, gate: Gate) -> None:
    gate(structure[metric])


@pytest.mark.sae_family("concepts")
def test_concepts(concepts: Measurements, metric: str, gate: Gate) -> None:
    gate(concepts[metric])
