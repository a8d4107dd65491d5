"""Targeted probe perturbation of arXiv 2411.18895."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measured


@pytest.mark.sae_family("tpp")
def test_tpp(tpp: Measured, metric: str, gate: Gate) -> None:
    gate(tpp[metric])
