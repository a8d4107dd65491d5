"""Automatic interpretability by a judge, after arXiv 2410.13928."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measurements


@pytest.mark.sae_metric("autointerp.failed")
def test_the_judge_answers(autointerp: Measurements, metric: str, gate: Gate) -> None:
    gate(autointerp[metric])


@pytest.mark.sae_metric("autointerp.detection", "autointerp.fuzzing")
def test_explanations_tell_where_latents_fire(
    autointerp: Measurements, metric: str, gate: Gate
) -> None:
    gate(autointerp[metric])


@pytest.mark.sae_family("autointerp")
def test_explanations_rank_contexts(autointerp: Measurements, metric: str, gate: Gate) -> None:
    gate(autointerp[metric])


@pytest.mark.sae_metric("autointerp.intervention")
def test_explanations_tell_effects_apart(autointerp: Measurements, metric: str, gate: Gate) -> None:
    gate(autointerp[metric])
