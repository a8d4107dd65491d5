"""Targeted probe perturbation of arXiv 2411.18895."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measurements


@pytest.mark.sae_family("tpp")
def test_tpp(tpp: Measurements, metric: str, gate: Gate) -> None:
    gate(tpp[metric])
