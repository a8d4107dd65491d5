"""Senses of a word in the strongest latent (PS-Eval, arXiv 2501.06254)."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measurements


@pytest.mark.sae_family("senses")
def test_senses(senses: Measurements, metric: str, gate: Gate) -> None:
    gate(senses[metric])
