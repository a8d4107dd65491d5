"""Spurious correlation removal, the automated SHIFT of arXiv 2411.18895."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measurements


@pytest.mark.sae_metric("scr.canonical")
def test_scr_as_published(scr: Measurements, metric: str, gate: Gate) -> None:
    gate(scr[metric])


@pytest.mark.sae_metric("scr", "scr.margin", n=20, direction="spurious")
def test_scr_removing_the_spurious_concept(scr: Measurements, metric: str, gate: Gate) -> None:
    gate(scr[metric])


@pytest.mark.sae_metric("scr", "scr.margin", n=20, direction="intended")
def test_scr_removing_the_intended_concept(scr: Measurements, metric: str, gate: Gate) -> None:
    gate(scr[metric])


@pytest.mark.sae_metric("scr.margin", n="few", direction=["spurious", "intended"])
def test_scr_removing_few_latents(scr: Measurements, metric: str, gate: Gate) -> None:
    gate(scr[metric])
