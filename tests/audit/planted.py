"""Panels whose truth is planted, and metrics that are the truth plus noise of a known size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pytest_sae.audit.values import Observation, Standing, WorldAudit
from pytest_sae.records.audit import AuditTruth

RUNS, STEPS = 6, (10, 20, 30, 40)


def standings() -> tuple[Standing, ...]:
    """Six trainings whose recovery rises, an oracle, and a control."""
    found = []
    for run in range(RUNS):
        for place, step in enumerate(STEPS):
            truth = 0.2 + 0.1 * place + 0.04 * run
            found.append(standing(f"r{run}@{step}", "trained", f"r{run}", step, truth))
    return (
        *found,
        standing("oracle", "oracle", "oracle", 0, 1.0),
        standing("random", "control", "random", 0, 0.02),
    )


def standing(name: str, kind: str, run: str, step: int, recovered: float) -> Standing:
    task = AuditTruth(recovered, recovered, recovered)
    rest = AuditTruth(1 - recovered, recovered, recovered**2)
    return Standing(name, kind, step, rest, task, task, task, task, run)


def world(
    value: Callable[[float, np.random.Generator], float | None],
    reseeds: int = 40,
    name: str = "planted",
    setting: str = "",
) -> WorldAudit:
    """A world with one metric, `value` of the recovery of the task's features."""
    rng = np.random.default_rng(0)
    panel = standings()
    observations = [
        Observation(each.member, seed, "planted", setting, value(each.task.both, rng))
        for seed in range(reseeds + 1)
        for each in panel
        if seed == 0 or each.kind == "trained"
    ]
    return WorldAudit(name, panel, tuple(observations))
