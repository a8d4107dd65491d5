"""Exchanging latents between entities, after RAVEL (arXiv 2402.17700)."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measured


@pytest.mark.sae_family("ravel")
def test_ravel(ravel: Measured, metric: str, gate: Gate) -> None:
    gate(ravel[metric])
