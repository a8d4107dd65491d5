"""The baseline of last-token probing: the same data sets read from all raw activations.

    score(datasets, seed) -> LastTokenScores
    estimates(scores, prefix, seed) -> list[Estimate]

What Kantamneni et al. (2025, 2502.16681) hold against probes on latents is a probe on the residual
stream itself: logistic regression with an L2 penalty. Here it reads the rows of the default
protocol of `last_token_probing`, and its penalty is chosen by the same folds and the same
likelihood. Its inputs are standardised, so that no activation's scale decides; the published code
takes them as they come.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_sae.metrics.ablation import Bools, Indices
from pytest_sae.metrics.last_token_probing import (
    STATISTICS,
    LastTokenScores,
    held_out,
    likelihood,
    readings,
    require_both,
)
from pytest_sae.numbers.bootstrap import Floats, drawn_estimate, generator, resample
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.probes.path import fit_path

L2S = (10.0, 1.0, 0.1, 0.01, 0.001)  # on the mean loss, see `probes.fit_logistic`


@dataclass(frozen=True)
class ActivationRows:
    """One data set.

    Args:
        name: of the data set.
        x: (row, d_in) activations of the last tokens.
        labels: (row,) bool.
        train: indices of training rows, in a drawn order.
        test: indices of test rows.
    """

    name: str
    x: NDArray[np.floating]
    labels: Bools
    train: Indices
    test: Indices


def score(datasets: Iterable[ActivationRows], seed: int) -> LastTokenScores:
    """Fit and read all data sets, one after the other; one value and penalty (of L2S) for each.

    Args:
        datasets: with training and test rows of both labels; given one at a time, since all
            activations of all of them may not fit in memory.
        seed: of the folds.

    Returns:
        AUC, accuracy and F1 of every data set; from 0 to 1, higher is better.

    Raises:
        MeasurementError: a data set lacks a label in training or test rows.

    Source: Kantamneni et al. 2025 (arXiv 2502.16681).

    >>> labels = np.arange(24) % 2 > 0
    >>> train, test = np.arange(20), np.arange(20, 24)
    >>> rows = ActivationRows("odd", labels[:, None] * 1.0, labels, train, test)
    >>> score([rows], seed=0).values["auc"].tolist()
    [1.0]
    """
    names, rows, penalties = [], 0, []
    values: dict[str, list[float]] = {name: [] for name in STATISTICS}
    for each in datasets:
        logits, penalty = _logits(each, seed)
        for name, value in readings(logits, each.labels[each.test]).items():
            values[name].append(value)
        names.append(each.name)
        penalties.append(penalty)
        rows += len(each.test)
    found = {name: np.array(column) for name, column in values.items()}
    return LastTokenScores(tuple(names), rows, found, np.array(penalties))


def estimates(scores: LastTokenScores, prefix: str, seed: int) -> list[Estimate]:
    """Return `prefix.auc`, `.accuracy` and `.f1`: means over data sets.

    Higher is better, chance is 0.5 (AUC, accuracy). No dictionary changes them. The interval is
    over data sets, in the draws of `last_token_probing.estimates`.

    Args:
        scores: from `score`.
        prefix: of the metrics' names.
        seed: the run's.

    Returns:
        One estimate per statistic, from 0 to 1.

    >>> scores = LastTokenScores(("one", "two"), 8, {"auc": np.array([0.5, 1.0])}, np.ones(2))
    >>> found = estimates(scores, "sparse_probing.last_token.activations", seed=0)[0]
    >>> found.metric, found.value
    ('sparse_probing.last_token.activations.auc', 0.75)
    """
    count = len(scores.names)
    draws = resample(count, generator(seed, "last_token", "datasets"))
    n = {"datasets": count, "texts": scores.rows}
    found = []
    for statistic, values in scores.values.items():
        drawn = np.concatenate([[values.mean()], draws.sums(values[:, None])[:, 0] / count])
        told = {"datasets": dict(zip(scores.names, values.tolist(), strict=True))}
        found.append(drawn_estimate(f"{prefix}.{statistic}", drawn, {}, n, 1, told))
    return found


def _logits(rows: ActivationRows, seed: int) -> tuple[Floats, float]:
    """(test row,) logits at the penalty that held-out training rows choose, and that penalty."""
    labels = rows.labels[rows.train]
    require_both(rows.name, labels, rows.labels[rows.test])
    held = held_out(rows.name, labels, False, seed)
    weights = np.concatenate([~held, np.ones((1, len(labels)), bool)]).astype(np.float64)
    known = rows.x[rows.train]
    path = fit_path(known, np.tile(labels, (len(weights), 1)), weights, L2S)
    unseen = np.stack([probes.logits(known)[:-1] for probes in path], axis=1)
    best = int(likelihood(unseen, labels, held).argmax())
    return path[best].logits(rows.x[rows.test])[-1], L2S[best]
