"""k-sparse probing of whole texts (SAEBench) and of last tokens (sae-probes), and transfer."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measurements


@pytest.mark.sae_metric("sparse_probing.canonical")
def test_sparse_probing_as_published(sparse_probing: Measurements, metric: str, gate: Gate) -> None:
    gate(sparse_probing[metric])


@pytest.mark.sae_family("sparse_probing")
def test_few_latents_know_concepts(sparse_probing: Measurements, metric: str, gate: Gate) -> None:
    gate(sparse_probing[metric])


@pytest.mark.sae_metric("sparse_probing.gain", "sparse_probing.neurons")
@pytest.mark.sae_metric("sparse_probing.activations")
def test_few_latents_beat_few_neurons(
    sparse_probing: Measurements, metric: str, gate: Gate
) -> None:
    gate(sparse_probing[metric])


@pytest.mark.sae_metric("sparse_probing.transfer")
def test_probes_transfer(sparse_probing: Measurements, metric: str, gate: Gate) -> None:
    gate(sparse_probing[metric])


@pytest.mark.sae_family("last_token_probing")
def test_last_tokens(last_token_probing: Measurements, metric: str, gate: Gate) -> None:
    gate(last_token_probing[metric])


@pytest.mark.sae_metric(
    "sparse_probing.last_token.canonical.auc",
    "sparse_probing.last_token.canonical.accuracy",
    "sparse_probing.last_token.canonical.f1",
)
def test_last_tokens_as_published(
    last_token_probing: Measurements, metric: str, gate: Gate
) -> None:
    gate(last_token_probing[metric])
