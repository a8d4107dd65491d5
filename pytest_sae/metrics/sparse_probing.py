"""Sparse probing of whole texts: what do the few most telling latents know of a concept?

    strongest(x, targets, weights, most, scaled) -> (concept, most) columns
    score_dataset(name, concepts, train, test, members=None) -> ProbedDataset
    fit_dataset(train, test) -> Logits; .read(name, concepts, test) -> ProbedDataset
    probing_estimates.estimates(datasets, seed) -> list[Estimate]

For each concept the k latents whose mean differs most between its texts and the others are given to
a logistic regression; beside it the same with the k most telling neurons (raw activations), and
probes on all latents and on all neurons.

- `sparse_probing.canonical`: as published (SAEBench 0.6): columns ranked by `|mean_pos - mean_neg|`
  as they come, so that latents of large norm win; L2 with C = 1 on unscaled columns; accuracy on
  all of a class' texts and as many negatives, drawn once. The published code draws the negatives
  again for every k, and picks the full probes' epoch on the test split; neither is done here.
- `sparse_probing`, `sparse_probing.auc`: the default. Columns are ranked by the difference in units
  of their spread, and standardised before the fit, so that rescaling a latent changes nothing; all
  other classes count, in equal shares; the same texts for every k; balanced accuracy, and the AUC,
  which no threshold moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pytest_sae.metrics.ablation import Bools, Indices
from pytest_sae.metrics.auc import contributions
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.probes import L2, fit_logistic
from pytest_sae.probes.columns import fit_columns

KS = (1, 2, 5, 10, 16, 50)
PUBLISHED_KS = (1, 2, 5)

Matrix: TypeAlias = NDArray[np.floating] | sparse.csr_array
Members: TypeAlias = tuple[Bools, Bools]


@dataclass(frozen=True)
class ProbedTexts:
    """One split of one data set.

    Args:
        z: (text, d_sae) pooled latents.
        x: (text, d) pooled activations.
        targets: (concept, text) bool.
        weights: (concept, text) that sum to 1 for each concept: half its texts, half the others.
        cells: (text,) the label by which texts are drawn in the bootstrap.
    """

    z: sparse.csr_array
    x: NDArray[np.floating]
    targets: Bools
    weights: Floats
    cells: Indices


@dataclass(frozen=True)
class ProbingShares:
    """What probes say of the test texts, as shares that sum to the value over the texts.

    Args:
        accuracy: (k, text) balanced accuracy, mean over concepts.
        auc: (k, text), mean over concepts.
        concepts: (k, concept) AUC of each concept.
    """

    accuracy: Floats
    auc: Floats
    concepts: Floats


@dataclass(frozen=True)
class NeuronLogits:
    """What probes on raw activations say of every test text, which no dictionary changes.

    Args:
        few: (k, concept, text) of the k most telling neurons, at each of `KS`.
        whole: (1, concept, text) of all neurons.
        published: (k, text) shares of the published accuracy; None where it is not measured.
    """

    few: Floats
    whole: Floats
    published: Floats | None


@dataclass(frozen=True)
class Logits:
    """What the probes of one data set say of every test text, before it becomes AUCs.

    Args:
        latents: (k, concept, text) of the k strongest latents, at each of `KS`.
        neurons: the same of the raw activations.
        all_latents: (1, concept, text).
        activations: (1, concept, text).
        chosen: (concept, k) the latents, strongest first.
    """

    latents: Floats
    neurons: Floats
    all_latents: Floats
    activations: Floats
    chosen: Indices

    def read(
        self,
        name: str,
        concepts: Sequence[str],
        test: ProbedTexts,
        canonical: Floats | None = None,
        canonical_neurons: Floats | None = None,
    ) -> ProbedDataset:
        """Return the data set as its test texts' labels have it; args as of `ProbedDataset`."""
        return ProbedDataset(
            name,
            tuple(concepts),
            test.cells,
            _read(self.latents, test),
            _read(self.neurons, test),
            _read(self.all_latents, test),
            _read(self.activations, test),
            canonical,
            canonical_neurons,
            self.chosen,
        )


@dataclass(frozen=True)
class ProbedDataset:
    """One data set read through one dictionary.

    Args:
        name: of the data set.
        concepts: their names.
        cells: (text,) label of each test text.
        latents: the k strongest latents, at each of `KS`.
        neurons: the same of the raw activations.
        all_latents: the probe on all of them (one row).
        activations: the probe on all neurons (one row).
        canonical: (k, text) shares of the published accuracy at each of `PUBLISHED_KS`, of latents;
            None where the data set is no set of classes.
        canonical_neurons: the same of neurons.
        chosen: (concept, k) the latents, strongest first.
    """

    name: str
    concepts: tuple[str, ...]
    cells: Indices
    latents: ProbingShares
    neurons: ProbingShares
    all_latents: ProbingShares
    activations: ProbingShares
    canonical: Floats | None
    canonical_neurons: Floats | None
    chosen: Indices


def strongest(x: Matrix, targets: Bools, weights: Floats, most: int, scaled: bool) -> Indices:
    """Return the columns whose means differ most, (concept, most), ties to the lower index.

    Args:
        x: (text, column), dense or sparse.
        targets: (concept, text) bool.
        weights: (concept, text) of the texts in their side's mean, 0 for those left out.
        most: how many, or all columns if there are fewer.
        scaled: in units of each column's standard deviation over all texts.

    Returns:
        Per concept the columns' indices, largest difference first.

    >>> x = np.array([[0.0, 0.0], [1.0, 10.0], [0.0, 0.0], [1.0, 0.0]])
    >>> targets, weights = np.array([[False, True, False, True]]), np.full((1, 4), 0.25)
    >>> strongest(x, targets, weights, 2, scaled=False).tolist()
    [[1, 0]]
    >>> strongest(x, targets, weights, 2, scaled=True).tolist()
    [[0, 1]]
    """
    contrast = np.stack([contrast_of(*each) for each in zip(targets, weights, strict=True)])
    difference = np.abs((x.T @ contrast.T).T)
    if scaled:
        spread = deviation(x)
        difference = np.divide(difference, spread, out=np.zeros_like(difference), where=spread > 0)
    return np.stack([_largest(each, most) for each in difference])


def _largest(values: Floats, most: int) -> Indices:
    """The places of the largest values, those first; ties to the lower place."""
    if most < len(values):
        least = np.partition(values, len(values) - most)[len(values) - most]
        above, tied = np.flatnonzero(values > least), np.flatnonzero(values == least)
        places = np.sort(np.concatenate([above, tied[: most - len(above)]]))
    else:
        places = np.arange(len(values))
    return places[np.argsort(-values[places], kind="stable")]


def contrast_of(target: NDArray[np.bool_], weights: Floats) -> Floats:
    """Return (text,) such that `x.T @ contrast` is the positives' mean less the negatives'.

    Args:
        target: (text,) bool, the positives.
        weights: (text,) of the texts in their side's mean, 0 for those left out.

    Returns:
        Sums to 0: 1 over the positives and -1 over the negatives.

    >>> contrast_of(np.array([True, True, False]), np.ones(3)).tolist()
    [0.5, 0.5, -1.0]
    """
    positive, negative = weights * target, weights * ~target
    contrast: Floats = positive / positive.sum() - negative / negative.sum()
    return contrast


def deviation(x: Matrix) -> Floats:
    """Return the standard deviation of each column, (column,) float64; 0 where it is constant.

    >>> deviation(np.array([[0.0, 5.0], [2.0, 5.0]])).tolist()
    [1.0, 0.0]
    """
    mean = np.asarray(x.mean(0, dtype=np.float64))
    squares: Any = x.astype(np.float64) ** 2 if sparse.issparse(x) else np.square(x, dtype=float)
    square = np.asarray(squares.mean(0))
    variance = square - mean**2
    return np.sqrt(np.where(variance > 1e-12 * square, variance, 0.0))


def columns_of(x: Matrix, chosen: Indices) -> Floats:
    """Return (concept, text, column) float64 of each concept's columns.

    Args:
        x: (text, column), dense or sparse.
        chosen: (concept, k) indices of columns.

    Returns:
        Dense, in the order of `chosen`.

    >>> columns_of(sparse.csr_array(np.array([[1.0, 2.0], [3.0, 4.0]])), np.array([[1]])).tolist()
    [[[2.0], [4.0]]]
    """
    lookup: Any = sparse.csc_array(x) if sparse.issparse(x) else x
    parts = [lookup[:, columns] for columns in chosen]
    dense = [part.toarray() if sparse.issparse(part) else part for part in parts]
    return np.stack(dense).astype(np.float64)


def standardised(train: Floats, test: Floats) -> tuple[Floats, Floats]:
    """Shift and scale (concept, text, column) by the training texts' mean and deviation.

    Args:
        train: (concept, text, column) of the training texts.
        test: (concept, text, column) of the test texts.

    Returns:
        Both, in units of the training texts' deviation; a constant column is only shifted.

    >>> train, test = standardised(np.array([[[0.0], [4.0]]]), np.array([[[6.0]]]))
    >>> train.tolist(), test.tolist()
    ([[[-1.0], [1.0]]], [[[2.0]]])
    """
    mean, spread = train.mean(1, keepdims=True), train.std(1, keepdims=True)
    scale = np.where(spread > 1e-9 * np.abs(mean), spread, 1.0)
    return (train - mean) / scale, (test - mean) / scale


def score_dataset(
    name: str,
    concepts: Sequence[str],
    train: ProbedTexts,
    test: ProbedTexts,
    members: Members | None = None,
    neurons: NeuronLogits | None = None,
) -> ProbedDataset:
    """Fit and read all probes of one data set.

    Args:
        name: of the data set.
        concepts: names, in the order of `targets`.
        train: probes are fitted, and columns ranked, on these alone.
        test: probes are read on these.
        members: per split, (concept, text) the texts of the published protocol; None for a data set
            that it does not cover.
        neurons: from `fit_neurons`, where that was done for another dictionary; None to do it.

    Returns:
        What each probe says of the test texts; accuracy and AUC from 0 to 1, higher is better.

    Raises:
        MeasurementError: activations or latents that are not finite.

    Source: SAEBench 0.6 (Karvonen et al. 2025, arXiv 2503.09532).

    >>> targets = np.arange(8)[None] % 2 > 0
    >>> z = sparse.csr_array(np.stack([np.ones(8), targets[0]], axis=1) * 1.0)
    >>> split = ProbedTexts(z, z.toarray(), targets, np.full((1, 8), 1 / 8), np.arange(8) % 2)
    >>> found = score_dataset("data", ["odd"], split, split)
    >>> found.chosen[0, 0].tolist(), found.latents.auc[0].sum().tolist()
    (1, 1.0)
    """
    neurons = neurons or fit_neurons(train, test, members)
    return fit_dataset(train, test, neurons).read(
        name,
        concepts,
        test,
        members and _published(train.z, test.z, train, test, members),
        neurons.published,
    )


def fit_neurons(
    train: ProbedTexts, test: ProbedTexts, members: Members | None = None
) -> NeuronLogits:
    """Fit the probes on raw activations, once for all dictionaries; args as of `score_dataset`.

    Args:
        train: probes are fitted, and neurons ranked, on these alone.
        test: probes are read on these.
        members: the texts of the published protocol, None where it is not measured.

    Returns:
        Logits of the test texts, by probe.

    >>> targets = np.arange(8)[None] % 2 > 0
    >>> x = targets[0][:, None] * 1.0
    >>> split = ProbedTexts(sparse.csr_array(x), x, targets, np.full((1, 8), 1 / 8), targets[0])
    >>> bool(((fit_neurons(split, split).whole[0] > 0) == targets).all())
    True
    """
    chosen = strongest(train.x, train.targets, train.weights, max(KS), scaled=True)
    return NeuronLogits(
        _few(train, columns_of(train.x, chosen), columns_of(test.x, chosen)),
        _all(train, train.x, test.x),
        members and _published(train.x, test.x, train, test, members),
    )


def fit_dataset(
    train: ProbedTexts, test: ProbedTexts, neurons: NeuronLogits | None = None
) -> Logits:
    """Fit all probes but the published ones; args as of `score_dataset`.

    Args:
        train: probes are fitted, and columns ranked, on these alone.
        test: probes are read on these.
        neurons: from `fit_neurons`, None to fit them too.

    Returns:
        Logits of the test texts, by probe.

    >>> targets = np.arange(8)[None] % 2 > 0
    >>> z = sparse.csr_array(np.stack([np.ones(8), targets[0]], axis=1) * 1.0)
    >>> split = ProbedTexts(z, z.toarray(), targets, np.full((1, 8), 1 / 8), np.arange(8) % 2)
    >>> bool(((fit_dataset(split, split).latents[0] > 0) == targets).all())
    True
    """
    chosen = strongest(train.z, train.targets, train.weights, max(KS), scaled=True)
    neurons = neurons or fit_neurons(train, test)
    return Logits(
        _few(train, columns_of(train.z, chosen), columns_of(test.z, chosen)),
        neurons.few,
        _all(train, train.z, test.z),
        neurons.whole,
        chosen,
    )


def _few(train: ProbedTexts, known: Floats, new: Floats) -> Floats:
    """Probes on the first k columns; known, new: (concept, text, column)."""
    known, new = standardised(known, new)
    weights = train.weights[:, None]
    logits = []
    for k in KS:
        probes = fit_columns(known[..., :k], train.targets, weights, [0.0], [L2])
        logits.append(probes.logits(new[..., :k])[:, 0, 0])
    return np.stack(logits)


def _all(train: ProbedTexts, known: Matrix, new: Matrix) -> Floats:
    """Probes on all columns."""
    probes = fit_logistic(known, train.targets, train.weights)
    logits: Floats = np.asarray(new @ probes.weight.astype(np.float64).T, np.float64).T
    logits = logits + probes.bias[:, None]
    return logits[None]


def _read(logits: Floats, test: ProbedTexts) -> ProbingShares:
    """(k, concept, text) logits to shares."""
    right = ((logits > 0) == test.targets) * test.weights
    ranked = np.stack(
        [contributions(logits[:, c], target) for c, target in enumerate(test.targets)], axis=1
    )
    return ProbingShares(right.mean(1), ranked.mean(1), ranked.sum(2))


def _published(
    known: Matrix, new: Matrix, train: ProbedTexts, test: ProbedTexts, members: Members
) -> Floats:
    """(k, text) shares of the published accuracy."""
    used, read = (each.astype(np.float64) for each in members)
    chosen = strongest(known, train.targets, used, max(PUBLISHED_KS), scaled=False)
    inputs, unseen = columns_of(known, chosen), columns_of(new, chosen)
    shares = read / read.sum(1, keepdims=True)
    rows = []
    for k in PUBLISHED_KS:
        probes = fit_columns(inputs[..., :k], train.targets, used[:, None], [0.0], [1.0])
        right = (probes.logits(unseen[..., :k])[:, 0, 0] > 0) == test.targets
        rows.append((right * shares).mean(0))
    return np.stack(rows)
