"""Forgetting one subject and keeping another by clamping latents (arXiv 2410.19278)."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measurements


@pytest.mark.sae_family("unlearning")
def test_unlearning(unlearning: Measurements, metric: str, gate: Gate) -> None:
    gate(unlearning[metric])
