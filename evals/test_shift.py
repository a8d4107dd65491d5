"""SHIFT: latents that a judge finds to be about the spurious concept are ablated."""

from __future__ import annotations

import pytest

from pytest_sae import Gate, Measurements


@pytest.mark.sae_metric("shift", "shift.margin")
def test_shift_removing_what_the_judge_picked(shift: Measurements, metric: str, gate: Gate) -> None:
    gate(shift[metric])


@pytest.mark.sae_metric("shift.worst_cell", "shift.worst_cell.recentred", "shift.worst_cell.refit")
def test_shift_helps_the_worst_cell(shift: Measurements, metric: str, gate: Gate) -> None:
    gate(shift[metric])


@pytest.mark.sae_family("shift")
def test_shift_what_the_judge_did(shift: Measurements, metric: str, gate: Gate) -> None:
    gate(shift[metric])
