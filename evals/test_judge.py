"""Is the judge fit to judge? Its answers about latents whose truth is known."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measurements


@pytest.mark.sae_family("judge_calibration")
def test_judge_calibration(judge_calibration: Measurements, metric: str, gate: Gate) -> None:
    gate(judge_calibration[metric])
