"""The erasure frontier: how surgically concepts go, between random latents and LEACE."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measurements


@pytest.mark.sae_family("erasure")
def test_erasure(erasure: Measurements, metric: str, gate: Gate) -> None:
    gate(erasure[metric])
