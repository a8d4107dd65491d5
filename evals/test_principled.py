"""An SAE beside a supervised dictionary of known attributes (arXiv 2405.08366)."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measurements


@pytest.mark.sae_metric("principled.sufficiency", "principled.necessity")
def test_approximation(principled: Measurements, metric: str, gate: Gate) -> None:
    gate(principled[metric])


@pytest.mark.sae_metric("principled.control", "principled.removed")
def test_control(principled: Measurements, metric: str, gate: Gate) -> None:
    gate(principled[metric])


@pytest.mark.sae_family("principled")
def test_interpretability(principled: Measurements, metric: str, gate: Gate) -> None:
    gate(principled[metric])
