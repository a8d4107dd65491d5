"""k-sparse probing at the last token on many binary data sets (Kantamneni et al. 2025, 2502.16681).

    score(datasets, published, seed) -> LastTokenScores
    estimates(scores, prefix, seed) -> list[Estimate]

The k latents whose mean differs most between the labels, each in units of its mean magnitude where
it is active, are given to an L1-penalised logistic regression whose C is chosen within the training
rows. AUC, accuracy and F1 on the test rows.

- published (`sparse_probing.last_token.canonical.*`): latents as they come; C from 1e5 to 1e-5 by
  the AUC on one hold-out, the last fifth and at most 100 of the training rows (six folds below 128
  rows). The published solver stops after 1000 steps wherever it is; here every fit has converged.
- default (`sparse_probing.last_token.*`): each text once, so that none is trained on and tested on
  (in some of the data sets two of three rows are copies); latents in units of their mean magnitude,
  so that rescaling one changes nothing; C by the held-out log-likelihood over five folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pytest_sae.errors import MeasurementError
from pytest_sae.metrics.ablation import Bools, Indices
from pytest_sae.metrics.auc import auc
from pytest_sae.metrics.probe_bootstrap import curve
from pytest_sae.metrics.sparse_probing import contrast_of
from pytest_sae.numbers.bootstrap import Floats, drawn_estimate, generator, resample
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.probes.columns import ColumnProbes, fit_columns

KS = (1, 2, 5, 10, 16)
STATISTICS = ("auc", "accuracy", "f1")
PUBLISHED_CS = tuple(np.logspace(-5, 5, 10).tolist())  # ascending: from the strongest penalty
CS = tuple(np.logspace(-3, 3, 7).tolist())
FOLDS = 5
_HOLD_OUT = 128  # training rows from which the published protocol holds one part out
_SETS = 128  # data sets fitted together: bounds the memory


@dataclass(frozen=True)
class LabelledRows:
    """One data set.

    Args:
        name: of the data set.
        z: (row, d_sae) latents of the last tokens.
        labels: (row,) bool.
        train: indices of training rows, in a drawn order.
        test: indices of test rows.
    """

    name: str
    z: sparse.csr_array
    labels: Bools
    train: Indices
    test: Indices


@dataclass(frozen=True)
class LastTokenScores:
    """All data sets read through one dictionary, or from the activations themselves.

    Args:
        names: of the data sets.
        rows: test rows of all of them.
        values: per statistic (dataset, k); (dataset,) from the activations, which have no k.
        penalties: likewise, the penalty that was chosen.
    """

    names: tuple[str, ...]
    rows: int
    values: dict[str, Floats]
    penalties: Floats


def magnitude(z: sparse.csr_array) -> Floats:
    """Return the mean of each column's nonzero magnitudes, (d_sae,) float64; 0 where all are 0.

    >>> magnitude(sparse.csr_array(np.array([[2.0, 0.0], [-4.0, 0.0], [0.0, 0.0]]))).tolist()
    [3.0, 0.0]
    """
    total = np.asarray(abs(z).astype(np.float64).sum(0))
    counts = np.bincount(z.indices[z.data != 0], minlength=z.shape[1])
    return total / np.maximum(counts, 1)


def score(datasets: Sequence[LabelledRows], published: bool, seed: int) -> LastTokenScores:
    """Fit and read all data sets at every k.

    Args:
        datasets: with training and test rows of both labels.
        published: the published protocol, or the default.
        seed: of the folds.

    Returns:
        AUC, accuracy and F1 of every data set at every k; from 0 to 1, higher is better.

    Raises:
        MeasurementError: a data set lacks a label in training or test rows.

    Source: Kantamneni et al. 2025 (arXiv 2502.16681).

    >>> labels = np.arange(24) % 2 > 0
    >>> z = sparse.csr_array(np.stack([np.ones(24), labels], axis=1) * 1.0)
    >>> rows = LabelledRows("odd", z, labels, np.arange(20), np.arange(20, 24))
    >>> score([rows], published=False, seed=0).values["auc"].tolist()
    [[1.0, 1.0, 1.0, 1.0, 1.0]]
    """
    values = {name: np.empty((len(datasets), len(KS))) for name in STATISTICS}
    penalties = np.empty((len(datasets), len(KS)))
    for start in range(0, len(datasets), _SETS):
        few = datasets[start : start + _SETS]
        inputs = [_inputs(each, published) for each in few]
        batch = _Batch.of(few, inputs, published, seed)
        for place, k in enumerate(KS):
            probes, chosen = batch.fit(k)
            for number, (each, (_, unseen)) in enumerate(zip(few, inputs, strict=True)):
                weight = probes.weight[number, -1, chosen[number]]
                logits = unseen[:, :k] @ weight + probes.bias[number, -1, chosen[number]]
                read = readings(logits, each.labels[each.test])
                for name in STATISTICS:
                    values[name][start + number, place] = read[name]
                penalties[start + number, place] = batch.cs[chosen[number]]
    names = tuple(each.name for each in datasets)
    return LastTokenScores(names, sum(len(each.test) for each in datasets), values, penalties)


def estimates(scores: LastTokenScores, prefix: str, seed: int) -> list[Estimate]:
    """Return `prefix.auc`, `.accuracy` and `.f1` at every k: means over data sets.

    Higher is better; chance is 0.5 (AUC, accuracy). The interval is over data sets; their test rows
    are given.

    Args:
        scores: from `score`.
        prefix: of the metrics' names.
        seed: the run's; two dictionaries use the same draws of data sets.

    Returns:
        One estimate per statistic and k, from 0 to 1.

    >>> values = {"auc": np.array([[0.5] * 5, [1.0] * 5])}
    >>> scores = LastTokenScores(("one", "two"), 8, values, np.ones((2, 5)))
    >>> found = estimates(scores, "sparse_probing.last_token", seed=0)[0]
    >>> found.metric, found.params, found.value
    ('sparse_probing.last_token.auc', {'k': 1}, 0.75)
    """
    count = len(scores.names)
    draws = resample(count, generator(seed, "last_token", "datasets"))
    n = {"datasets": count, "texts": scores.rows}
    found = []
    for statistic, values in scores.values.items():
        drawn = np.concatenate([values.mean(0, keepdims=True), draws.sums(values) / count])
        for place, k in enumerate(KS):
            per_dataset = dict(zip(scores.names, values[:, place].tolist(), strict=True))
            details = {"curve": curve(KS, drawn), "datasets": per_dataset}
            name = f"{prefix}.{statistic}"
            found.append(drawn_estimate(name, drawn[:, place], {"k": k}, n, 1, details))
    return found


def require_both(name: str, *labels: Bools) -> None:
    """Refuse a data set of which some rows have one label only.

    Args:
        name: of the data set, for the message.
        labels: (row,) bool of each split.

    Raises:
        MeasurementError: they have.

    >>> require_both("data", np.array([True, True]))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pytest_sae.errors.MeasurementError: data set data lacks a label ...
    """
    if any(each.all() or not each.any() for each in labels):
        raise MeasurementError(
            f"data set {name} lacks a label in its training or test rows: take more rows"
        )


def _inputs(rows: LabelledRows, published: bool) -> tuple[Floats, Floats]:
    """The most telling columns of training and test rows, (row, max k), strongest first."""
    train, test = rows.z[rows.train], rows.z[rows.test]
    labels = rows.labels[rows.train]
    require_both(rows.name, labels, rows.labels[rows.test])
    unit = magnitude(train)
    difference = np.abs(train.T @ contrast_of(labels, np.ones(len(labels))))
    difference = np.divide(difference, unit, out=np.zeros_like(difference), where=unit > 0)
    chosen = np.argsort(-difference, kind="stable")[: max(KS)]
    scale = np.where(unit[chosen] > 0, unit[chosen], 1.0)
    scale = np.ones_like(scale) if published else scale
    known, unseen = (
        each.tocsc()[:, chosen].toarray().astype(np.float64) / scale for each in (train, test)
    )
    return known, unseen


@dataclass(frozen=True)
class _Batch:
    """Training rows of several data sets, padded; the last fit of each is on all of them."""

    x: Floats  # (set, row, column)
    labels: Bools  # (set, row)
    weights: Floats  # (set, fit, row)
    held: Bools  # (set, fit, row): rows on which C is judged
    cs: tuple[float, ...]
    by_auc: bool

    @classmethod
    def of(
        cls,
        datasets: Sequence[LabelledRows],
        inputs: Sequence[tuple[Floats, Floats]],
        published: bool,
        seed: int,
    ) -> _Batch:
        most = max(len(known) for known, _ in inputs)
        held = [held_out(each.name, each.labels[each.train], published, seed) for each in datasets]
        fits = max(len(each) for each in held)
        width = min(known.shape[1] for known, _ in inputs)
        x = np.zeros((len(datasets), most, width))
        labels = np.zeros((len(datasets), most), bool)
        weights = np.zeros((len(datasets), fits + 1, most))
        judged = np.zeros((len(datasets), fits, most), bool)
        for number, (each, (known, _), out) in enumerate(zip(datasets, inputs, held, strict=True)):
            size = len(known)
            x[number, :size] = known[:, :width]
            labels[number, :size] = each.labels[each.train]
            # A data set with fewer folds repeats them, which changes no mean over folds.
            repeated = out[np.arange(fits) % len(out)]
            judged[number, :, :size] = repeated
            weights[number, :-1, :size] = ~repeated
            weights[number, -1, :size] = 1.0
        return cls(x, labels, weights, judged, PUBLISHED_CS if published else CS, published)

    def fit(self, k: int) -> tuple[ColumnProbes, Indices]:
        """Probes at every C, and the place of the chosen C of each set."""
        x = self.x[..., :k]
        penalties = [1 / c for c in self.cs]
        nothing = [0.0] * len(penalties)
        probes = fit_columns(x, self.labels, self.weights, penalties, nothing)
        logits = probes.logits(x)[:, :-1]
        judge = _by_auc if self.by_auc else likelihood
        scores = np.array(
            [judge(*each) for each in zip(logits, self.labels, self.held, strict=True)]
        )
        # Of equals, the published code takes the largest C.
        best = scores.shape[1] - 1 - scores[:, ::-1].argmax(1)
        return probes, best


def _by_auc(logits: Floats, labels: Bools, held: Bools) -> Floats:
    """(fit, penalty, row) to (penalty,): mean AUC of the held-out rows over fits."""
    found = []
    for fit, out in zip(logits, held, strict=True):
        if len(set(labels[out].tolist())) == 2:
            found.append(auc(fit[:, out], labels[out]))
    return np.mean(found, axis=0) if found else np.zeros(logits.shape[1])


def likelihood(logits: Floats, labels: Bools, held: Bools) -> Floats:
    """Return the mean log-likelihood of held-out rows at each penalty.

    Args:
        logits: (fit, penalty, row).
        labels: (row,).
        held: (fit, row), the rows that each fit has not seen.

    Returns:
        (penalty,) nats per row, 0 or less; higher is better.

    >>> logits, labels = np.zeros((1, 1, 2)), np.array([True, False])
    >>> likelihood(logits, labels, np.ones((1, 2), bool)).round(4).tolist()
    [-0.6931]
    """
    margins = np.where(labels, logits, -logits)
    losses = np.logaddexp(0.0, -margins) * held[:, None]
    result: Floats = -losses.sum((0, 2)) / held.sum()
    return result


def held_out(name: str, labels: Bools, published: bool, seed: int) -> Bools:
    """Return on which training rows each fit's penalty is judged, (fit, row).

    Args:
        name: of the data set.
        labels: (row,) of the training rows, in their drawn order.
        published: the published hold-out, or five folds with both labels in equal parts.
        seed: of the folds.

    Returns:
        Each row is held out once, or the last fifth of them by the published protocol.

    >>> held = held_out("data", np.arange(10) % 2 > 0, published=False, seed=0)
    >>> held.shape, held.sum(0).tolist()
    ((5, 10), [1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    """
    size = len(labels)
    if published and size >= _HOLD_OUT:
        return np.arange(size)[None] >= size - min(int(0.2 * size), 100)
    folds = 6 if published else FOLDS
    dealt = np.empty(size, np.int64)
    rng = generator(seed, "last_token", name, "folds")
    for label in (True, False):
        places = np.flatnonzero(labels == label)
        dealt[places] = rng.permutation(len(places)) % folds
    held: Bools = dealt == np.arange(folds)[:, None]
    return held


def readings(logits: Floats, labels: Bools) -> dict[str, float]:
    """Return AUC, accuracy, and F1 averaged over both labels by their share, of (row,) logits.

    Args:
        logits: (row,), above 0 where the probe says yes.
        labels: (row,) bool.

    Returns:
        From 0 to 1 each, higher is better.

    >>> readings(np.array([1.0, 2.0, -1.0, 3.0]), np.array([True, True, False, False]))["auc"]
    0.5
    """
    said = logits > 0
    f1 = 0.0
    for label in (True, False):
        mine, called = labels == label, said == label
        f1 += mine.mean() * 2 * (mine & called).sum() / (mine.sum() + called.sum())
    return {
        "auc": float(auc(logits, labels)),
        "accuracy": float((said == labels).mean()),
        "f1": float(f1),
    }
