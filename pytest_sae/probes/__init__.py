"""Many linear probes fitted at once.

LinearProbes(weight (probe, d), bias (probe,)) .logits(x) -> (probe, text)
ProbeSets(published, fits, redrawn) .to_arrays() .from_arrays(arrays)       # the probes of one task
fit_published(x, labels, members, rngs, recipe=PUBLISHED) -> LinearProbes    # the paper's recipe
fit_redrawn(x, labels, members, rngs, counts)               # the same on resampled texts
fit_logistic(x, labels, weights, l2=L2) -> LinearProbes                      # convex, converged
path.fit_path(x, labels, weights, l2s) -> [LinearProbes, ...]                # at several penalties
columns.fit_columns(x, labels, weights, l1, l2) -> ColumnProbes              # few columns each
Refits(x, weights) .directions(changed, labels) -> (fit, d)     # discriminants on changed texts
"""

from pytest_sae.probes.least_squares import NOISE, Refits
from pytest_sae.probes.linear import LinearProbes, ProbeSets, Redrawn
from pytest_sae.probes.logistic import L2, fit_logistic
from pytest_sae.probes.published import (
    PUBLISHED,
    ProbeRecipe,
    Schedule,
    fit_published,
    fit_redrawn,
    schedule,
)

__all__ = [
    "L2",
    "NOISE",
    "PUBLISHED",
    "LinearProbes",
    "ProbeRecipe",
    "ProbeSets",
    "Redrawn",
    "Refits",
    "Schedule",
    "fit_logistic",
    "fit_published",
    "fit_redrawn",
    "schedule",
]
