"""Targeted probe perturbation of arXiv 2411.18895."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measured


@pytest.mark.sae_metric("tpp.canonical", "tpp", "tpp.margin", "tpp.rescaled")
def test_tpp(tpp: Measured, metric: str, gate: Gate) -> None:
    gate(tpp[metric])
