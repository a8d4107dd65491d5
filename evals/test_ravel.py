"""Exchanging latents between entities, after RAVEL (arXiv 2402.17700)."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measurements


@pytest.mark.sae_family("ravel")
def test_ravel(ravel: Measurements, metric: str, gate: Gate) -> None:
    gate(ravel[metric])
