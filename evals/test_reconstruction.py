"""Reconstruction, sparsity and behaviour of the model with reconstructions in place."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measurements


@pytest.mark.sae_metric(
    "explained_variance",
    "mse",
    "cosine",
    "l2_ratio",
    "relative_bias",
)
def test_reconstruction(core: Measurements, metric: str, gate: Gate) -> None:
    gate(core[metric])


@pytest.mark.sae_metric("l0", "l1", "dead_share", "dense_share_1pct", "dense_share_10pct")
def test_sparsity(core: Measurements, metric: str, gate: Gate) -> None:
    gate(core[metric])


@pytest.mark.sae_metric(
    "ce_clean",
    "ce_spliced",
    "ce_mean_ablated",
    "ce_zero_ablated",
    "ce_recovered",
    "ce_recovered.zero",
    "kl",
)
def test_behaviour(core: Measurements, metric: str, gate: Gate) -> None:
    gate(core[metric])


@pytest.mark.sae_family("core")
def test_weights(core: Measurements, metric: str, gate: Gate) -> None:
    gate(core[metric])
