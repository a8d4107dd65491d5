"""What few latents of one dictionary remove, over the concepts of the SCR and TPP tasks.

measure(given) -> list[Estimate]
"""

from __future__ import annotations

from pytest_sae.measure.frontier import too_few, views
from pytest_sae.measure.given import Given
from pytest_sae.metrics.removal import estimates, trace
from pytest_sae.numbers.estimate import Estimate


def measure(given: Given) -> list[Estimate]:
    """Return `removal` over all tasks, over the [[scr]] and over the [[tpp]] tables.

    Args:
        given: to measure from.
    """
    latents, tasks, seed = given.latents, given.tasks, given.seed
    found = {
        group: [
            each
            for view in group_views
            for each in trace(view.texts, view.references(latents), view.ablation)
        ]
        for group, group_views in views(latents, tasks, seed, given.counts["fits"]).items()
    }
    return estimates(found, seed, too_few(tasks))
