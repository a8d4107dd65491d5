"""Is the judge fit to judge? Its answers about latents whose truth is known."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measured


@pytest.mark.sae_metric(
    "judge_calibration.explain",
    "judge_calibration.score",
    "judge_calibration.rate",
    "judge_calibration.injection",
)
def test_judge_calibration(judge_calibration: Measured, metric: str, gate: Gate) -> None:
    gate(judge_calibration[metric])
