"""Does a probe on few latents work on other data? Poolings and binarised latents compared.

    fit_and_read(source, targets) -> TransferTask
    estimates(tasks, seed) -> list[Estimate]

A concept that two data sets share is learned on one and read on the other: gender among professors
and nurses, then among architects and journalists. How the latents of a text's tokens become one
vector (mean, max, sum, last), and whether only their being active counts, decides what survives
(Gallifant et al. 2025, "Sparse autoencoder features for classifications and transferability").
Binarised, mean, max and sum are the same thing, so that one of them stands for all three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pytest_sae.metrics.auc import contributions
from pytest_sae.metrics.probe_bootstrap import draw
from pytest_sae.metrics.sparse_probing import columns_of, standardised, strongest
from pytest_sae.numbers.bootstrap import Floats, drawn_estimate, generator
from pytest_sae.numbers.estimate import Estimate, no_data
from pytest_sae.probes import L2
from pytest_sae.probes.columns import fit_columns

Pooling = Literal["mean", "max", "sum", "last"]
Variant = tuple[Pooling, bool]  # pooling, binarised

K = 16
METRIC = "sparse_probing.transfer"
VARIANTS: tuple[Variant, ...] = (
    *((pooling, False) for pooling in get_args(Pooling)),
    ("max", True),
    ("last", True),
)
NO_PAIR = "no two data sets share a concept: that needs one label in two tables, or [[transfer]]"


@dataclass(frozen=True)
class PooledTexts:
    """Texts with a concept's labels, their latents pooled in every way.

    Args:
        name: of the data set.
        z: per pooling (text, d_sae).
        positive: (text,) bool.
        cells: (text,) label by which texts are drawn in the bootstrap.
    """

    name: str
    z: Mapping[Pooling, sparse.csr_array]
    positive: NDArray[np.bool_]
    cells: NDArray[np.int64]


@dataclass(frozen=True)
class TransferTask:
    """One probe, learned on one data set and read on another.

    Args:
        source: where it was learned.
        target: where it was read.
        cells: (text,) labels of the target's texts.
        shares: per variant (text,) shares of the AUC on the target.
        at_home: per variant, the AUC on the source's own test texts.
    """

    source: str
    target: str
    cells: NDArray[np.int64]
    shares: Mapping[Variant, Floats]
    at_home: Mapping[Variant, float]


def fit_and_read(
    train: PooledTexts, home: PooledTexts, targets: Sequence[PooledTexts]
) -> list[TransferTask]:
    """Fit a probe on the K strongest latents of one data set and read it on others.

    Args:
        train: its training texts.
        home: its test texts.
        targets: test texts of data sets that share the concept.

    Returns:
        One task per target, with the AUC's shares by pooling; from 0 to 1, higher is better.

    Raises:
        MeasurementError: training texts of one label only.

    Source: after Gallifant et al. 2025 (arXiv 2502.11367).

    >>> positive = np.arange(8) % 2 > 0
    >>> z = sparse.csr_array(np.stack([np.ones(8), positive], axis=1) * 1.0)
    >>> texts = PooledTexts("data", dict.fromkeys(("mean", "max", "sum", "last"), z), positive,
    ...     np.arange(8) % 2)
    >>> (task,) = fit_and_read(texts, texts, [texts])
    >>> float(task.shares["mean", False].sum()), task.at_home["mean", False]
    (1.0, 1.0)
    """
    read = [home, *targets]
    shares: dict[Variant, list[Floats]] = {}
    for variant in VARIANTS:
        logits = _logits(_inputs(train, variant), train, [_inputs(each, variant) for each in read])
        shares[variant] = [
            contributions(scores, each.positive) for scores, each in zip(logits, read, strict=True)
        ]
    at_home = {variant: float(found[0].sum()) for variant, found in shares.items()}
    return [
        TransferTask(
            train.name,
            target.name,
            target.cells,
            {variant: found[place] for variant, found in shares.items()},
            at_home,
        )
        for place, target in enumerate(targets, start=1)
    ]


def estimates(tasks: Sequence[TransferTask], seed: int) -> list[Estimate]:
    """Return `sparse_probing.transfer` for every pooling: the mean AUC on data sets not learned on.

    Higher is better, 0.5 is chance. The details have the AUC at home, and each pair's.

    Args:
        tasks: ordered pairs from `fit_and_read`; empty where no concept is shared.
        seed: the run's.

    Returns:
        One estimate per pooling, from 0 to 1; `no_data` without tasks.

    >>> shares = dict.fromkeys(VARIANTS, np.array([0.25, 0.5]))
    >>> task = TransferTask("here", "there", np.arange(2), shares, dict.fromkeys(VARIANTS, 1.0))
    >>> found = estimates([task], seed=0)[0]
    >>> found.value, found.params, found.details["at_home"]
    (0.75, {'pooling': 'mean', 'binarised': False}, 1.0)
    """
    if not tasks:
        return [no_data(METRIC, NO_PAIR, _params(variant)) for variant in VARIANTS]
    draws = [
        draw(task.cells, 1, generator(seed, "transfer", task.source, task.target)) for task in tasks
    ]
    return [
        drawn_estimate(
            METRIC,
            np.mean(
                [d.over_texts(t.shares[variant]) for t, d in zip(tasks, draws, strict=True)], axis=0
            ),
            _params(variant),
            {"texts": sum(len(task.cells) for task in tasks), "pairs": len(tasks)},
            1,
            {
                "at_home": float(np.mean([task.at_home[variant] for task in tasks])),
                "pairs": {
                    f"{task.source} > {task.target}": float(task.shares[variant].sum())
                    for task in tasks
                },
            },
        )
        for variant in VARIANTS
    ]


def _params(variant: Variant) -> dict[str, str | int | float | bool]:
    pooling, binarised = variant
    return {"pooling": pooling, "binarised": binarised}


def _inputs(texts: PooledTexts, variant: Variant) -> sparse.csr_array:
    pooling, binarised = variant
    z = texts.z[pooling]
    return sparse.csr_array(z != 0).astype(np.float64) if binarised else z


def _logits(
    known: sparse.csr_array, train: PooledTexts, unseen: Sequence[sparse.csr_array]
) -> list[Floats]:
    positive = train.positive[None]
    weights = np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum())
    chosen = strongest(known, positive, weights, K, scaled=True)
    columns = columns_of(known, chosen)
    inputs, _ = standardised(columns, columns)
    probes = fit_columns(inputs, positive, weights[:, None], [0.0], [L2])
    read = [standardised(columns, columns_of(each, chosen))[1] for each in unseen]
    return [probes.logits(each)[0, 0, 0] for each in read]
