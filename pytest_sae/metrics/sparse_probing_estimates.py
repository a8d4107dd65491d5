"""From what probes read to the sparse probing figures, default and canonical.

estimates(datasets, seed) -> list[Estimate]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from pytest_sae.metrics.probe_bootstrap import (
    Draws,
    curve,
    draw,
    point,
    surely_positive,
)
from pytest_sae.metrics.sparse_probing import KS, PUBLISHED_KS, ProbedDataset, ProbingShares
from pytest_sae.numbers.bootstrap import Floats, divide, drawn_estimate, generator, influence
from pytest_sae.numbers.estimate import Estimate, Param, no_data, unable

Drawn = Sequence[tuple[ProbedDataset, Draws]]
Shares = Callable[[ProbedDataset], Floats]


def estimates(datasets: Sequence[ProbedDataset], seed: int) -> list[Estimate]:
    """Return the sparse probing figures: means over data sets, each a mean over its concepts.

    `sparse_probing` (balanced accuracy) and `.auc` of the k strongest latents; `.neurons`, the AUC
    of the k strongest neurons, and `.gain`, the difference of the two AUCs, paired; `.all_latents`
    and `.activations`, the AUC of probes on everything; `.retention`, the area under the curve of
    accuracy kept, `accuracy(k) / accuracy(all activations)`, over log k from 1 to 50 (1 = a single
    latent does as well as all neurons); `.canonical`, see `metrics.sparse_probing`. From 0.5,
    which is chance, to 1, higher is better.

    Args:
        datasets: from `score_dataset`.
        seed: the run's; intervals of two dictionaries use the same draws of test texts.

    Returns:
        Estimates at every k, then those of all latents and of all activations.

    Raises:
        ValueError: no data set.

    A data set whose concept the first latent tells, and chance for the neurons:

    >>> right, even = np.full((6, 2), 0.5), np.full((6, 2), 0.25)
    >>> good, poor = (ProbingShares(each, each, each[:, :1]) for each in (right, even))
    >>> whole = ProbingShares(right[:1], right[:1], right[:1, :1])
    >>> data = ProbedDataset("data", ("c",), np.arange(2), good, poor, whole, whole, None, None,
    ...     np.zeros((1, 1), np.int64))
    >>> found = {(each.metric, each.params.get("k")): each.value for each in estimates([data], 0)}
    >>> found["sparse_probing.auc", 16], found["sparse_probing.gain", 16]
    (1.0, 0.5)
    """
    if not datasets:
        raise ValueError("sparse probing needs at least one data set")
    drawn = [
        (each, draw(each.cells, 1, generator(seed, "sparse_probing", each.name)))
        for each in datasets
    ]
    accuracy = _mean(drawn, lambda each: each.latents.accuracy)
    return [
        *_at_each_k(drawn, accuracy),
        _everything("sparse_probing.all_latents", drawn, lambda each: each.all_latents),
        _everything("sparse_probing.activations", drawn, lambda each: each.activations),
        _retention(drawn, accuracy),
        *_canonical(drawn),
    ]


def _at_each_k(drawn: Drawn, accuracy: Floats) -> list[Estimate]:
    """The figures of the k strongest latents and neurons; accuracy: (draw, k) of the latents."""
    latents = _mean(drawn, lambda each: each.latents.auc)
    neurons = _mean(drawn, lambda each: each.neurons.auc)
    columns: dict[str, tuple[Floats, Shares]] = {
        "sparse_probing": (accuracy, lambda each: each.latents.accuracy),
        "sparse_probing.auc": (latents, lambda each: each.latents.auc),
        "sparse_probing.neurons": (neurons, lambda each: each.neurons.auc),
        "sparse_probing.gain": (
            latents - neurons,
            lambda each: each.latents.auc - each.neurons.auc,
        ),
    }
    every = {
        "all activations": float(_mean(drawn, lambda each: each.activations.auc)[0, 0]),
        "all latents": float(_mean(drawn, lambda each: each.all_latents.auc)[0, 0]),
    }
    datasets, found = [each for each, _ in drawn], []
    for (name, (values, shares)), (place, k) in product(columns.items(), enumerate(KS)):
        details: dict[str, object] = {"curve": curve(KS, values)}
        if name == "sparse_probing.auc":
            details |= {**_per_dataset(datasets, place), "references": every}
        told = _influence(datasets, [shares(each)[place] for each in datasets])
        found.append(_estimate(name, values[:, place], datasets, {"k": k}, details, told))
    return found


def _mean(drawn: Drawn, shares: Shares) -> Floats:
    """(draw, k) means over data sets."""
    means = [draws.over_texts(shares(each)) for each, draws in drawn]
    result: Floats = np.mean(means, axis=0)
    return result


def _influence(datasets: Sequence[ProbedDataset], slopes: Sequence[Floats]) -> tuple[float, ...]:
    """What each text adds to the error of a mean over data sets, set after set.

    Args:
        datasets: whose mean it is.
        slopes: (text,) of each, the derivatives of its figure by the texts' weights.
    """
    parts = (
        influence(slope / len(datasets), each.cells)
        for each, slope in zip(datasets, slopes, strict=True)
    )
    return tuple(value for part in parts for value in part)


def _estimate(
    metric: str,
    values: Floats,
    datasets: Sequence[ProbedDataset],
    params: dict[str, Param],
    details: dict[str, object],
    told: tuple[float, ...],
) -> Estimate:
    n = {
        "texts": sum(len(each.cells) for each in datasets),
        "datasets": len(datasets),
        "concepts": sum(len(each.concepts) for each in datasets),
    }
    return drawn_estimate(metric, values, params, n, 1, details, told)


def _everything(
    metric: str, drawn: Drawn, reading: Callable[[ProbedDataset], ProbingShares]
) -> Estimate:
    values = _mean(drawn, lambda each: reading(each).auc)[:, 0]
    accuracy = _mean(drawn, lambda each: reading(each).accuracy)[:, 0]
    datasets = [each for each, _ in drawn]
    per_dataset = {each.name: float(reading(each).auc.sum()) for each in datasets}
    details: dict[str, object] = {"accuracy": point(accuracy), "datasets": per_dataset}
    told = _influence(datasets, [reading(each).auc[0] for each in datasets])
    return _estimate(metric, values, datasets, {}, details, told)


def _retention(drawn: Drawn, accuracy: Floats) -> Estimate:
    """Accuracy kept, over log k, and the area under it."""
    full = _mean(drawn, lambda each: each.activations.accuracy)
    kept = divide(accuracy, full)
    steps = np.diff(np.log(KS)) / np.log(KS[-1] / KS[0])
    weights = (np.append(steps, 0) + np.append(0, steps)) / 2
    area = kept @ weights
    details: dict[str, object] = {"curve": curve(KS, kept), "accuracy": point(full[:, 0])}
    datasets = [each for each, _ in drawn]
    if not surely_positive(full[:, 0] - 0.5):
        reason = (
            f"the probe on all activations has a balanced accuracy of {full[0, 0]:.3f}, not more "
            "than three standard errors above chance: there is nothing to keep"
        )
        return unable("sparse_probing.retention", reason, {}, details)
    lost = [each.activations.accuracy[0] * kept[0][:, None] for each in datasets]
    slopes = [
        weights @ (each.latents.accuracy - less) / full[0, 0]
        for each, less in zip(datasets, lost, strict=True)
    ]
    told = _influence(datasets, slopes)
    return _estimate("sparse_probing.retention", area, datasets, {}, details, told)


def _canonical(drawn: Drawn) -> list[Estimate]:
    covered = [(each, draws) for each, draws in drawn if each.canonical is not None]
    name = "sparse_probing.canonical"
    if not covered:
        reason = "the published protocol needs a [[tpp]] table: classes, one against the others"
        return [no_data(name, reason, {"k": k}) for k in PUBLISHED_KS]
    values = _mean(covered, lambda each: _given(each.canonical))
    neurons = _mean(covered, lambda each: _given(each.canonical_neurons))
    datasets = [each for each, _ in covered]
    details: dict[str, object] = {
        "curve": curve(PUBLISHED_KS, values),
        "neurons": curve(PUBLISHED_KS, neurons),
    }
    told = [
        _influence(datasets, [_given(each.canonical)[place] for each in datasets])
        for place in range(len(PUBLISHED_KS))
    ]
    return [
        _estimate(name, values[:, place], datasets, {"k": k}, details, told[place])
        for place, k in enumerate(PUBLISHED_KS)
    ]


def _given(shares: Floats | None) -> Floats:
    assert shares is not None
    return shares


def _per_dataset(datasets: Sequence[ProbedDataset], place: int) -> dict[str, object]:
    """Per data set and concept: the AUC, and the strongest latent."""
    return {
        "datasets": {
            each.name: {
                concept: {
                    "auc": float(each.latents.concepts[place, c]),
                    "neurons": float(each.neurons.concepts[place, c]),
                    "latent": int(each.chosen[c, 0]),
                }
                for c, concept in enumerate(each.concepts)
            }
            for each in datasets
        }
    }
