"""What a few latents take away of a concept for good, less what else goes with it."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measurements


@pytest.mark.sae_family("removal")
def test_removal(removal: Measurements, metric: str, gate: Gate) -> None:
    gate(removal[metric])
