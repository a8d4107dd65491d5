"""Many linear probes fitted at once.

LinearProbes(weight (probe, d), bias (probe,)) .logits(x) -> (probe, text)
ProbeSets(published, fits) .to_arrays() .from_arrays(arrays)       # the probes of one task
fit_published(x, labels, members, rngs, recipe=PUBLISHED) -> LinearProbes    # the paper's recipe
fit_logistic(x, labels, weights, l2=L2) -> LinearProbes                      # convex, converged
"""

from pytest_sae.probes.linear import LinearProbes, ProbeSets
from pytest_sae.probes.logistic import L2, fit_logistic
from pytest_sae.probes.published import PUBLISHED, Recipe, Schedule, fit_published, schedule

__all__ = [
    "L2",
    "PUBLISHED",
    "LinearProbes",
    "ProbeSets",
    "Recipe",
    "Schedule",
    "fit_logistic",
    "fit_published",
    "schedule",
]
