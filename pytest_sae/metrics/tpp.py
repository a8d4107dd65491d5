"""Targeted probe perturbation (Karvonen et al. 2024, arXiv 2411.18895).

    fit_probes(task, x, labels, classes, seed)   # in `class_probes`: one probe per class
    score_task(task, probes, train, z_train, test, x_test, decoder, removal, seed, ns=NS) -> TppTask
    read_probes(probes, train, z_train, x_test, decoder, removal, ns) -> ProbeReadings; .score(...)
    estimates(tasks, seed, headline_n=20) -> list[Estimate]

Ablating the latents of class c should cost class c's probe, and no other:
`tpp_c = loss of probe c - mean over c' != c of the loss of probe c'`.

- `tpp.canonical`: loss in accuracy, published probes, negatives drawn once (seeded) and the same
  for the clean and the ablated value; mean over classes, then over tasks. Its error has that of
  other training texts in it, by fits of the same recipe on resamples of these.
- `tpp`: balanced accuracy over *all* other classes in equal shares (so nothing is drawn), divided
  by what can be lost (clean minus chance); ratio of sums over classes and tasks, mean over fits.
- `tpp.margin`: the same with the mean logit margin in units of its own spread on the clean texts,
  divided by the clean margin. (Over balanced labels the mean margin is blind to a shift of the
  threshold, which is what is wanted here: shifting a probe does not unlearn its class.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pytest_sae.metrics.ablation import (
    Bools,
    Indices,
    Removal,
    Rows,
    mean_difference,
    order,
    written,
)
from pytest_sae.metrics.class_probes import balanced, members, one_versus_rest
from pytest_sae.metrics.probe_bootstrap import equal_cells
from pytest_sae.metrics.protocol import NS
from pytest_sae.numbers.bootstrap import Floats, generator
from pytest_sae.probes import LinearProbes, ProbeSets

Variant = Literal["canonical", "accuracy", "margin"]


@dataclass(frozen=True)
class Effects:
    """What ablation does to the probes, per text: sums over texts are the values.

    Args:
        intended: (n, fit, text) mean over classes of the loss of the class' own probe.
        unintended: (n, fit, text) mean over classes of the other probes' mean loss.
        achievable: (fit, text) mean over classes of clean minus chance.
        losses: (n, class, probe) loss of each probe when each class is ablated, mean over fits.
        latents: (fit, class) how many latents had a positive effect, at most max(ns).
    """

    intended: Floats
    unintended: Floats
    achievable: Floats
    losses: Floats
    latents: NDArray[np.int64]


@dataclass(frozen=True)
class TppTask:
    """One task read through one dictionary.

    Args:
        name: of the task.
        classes: their names.
        ns: numbers of ablated latents.
        labels: (text,) class of each test text.
        effects: per variant.
        redrawn: (n, fit) the canonical figure by each fit of the published recipe on other
            training texts; None where there is none.
    """

    name: str
    classes: tuple[str, ...]
    ns: tuple[int, ...]
    labels: NDArray[np.int64]
    effects: Mapping[Variant, Effects]
    redrawn: Floats | None = None


def score_task(
    task: str,
    classes: Sequence[str],
    probes: ProbeSets,
    train: Indices,
    z_train: sparse.csr_array,
    test: Indices,
    x_test: NDArray[np.floating],
    decoder: Rows,
    removal: Removal,
    seed: int,
    ns: Sequence[int] = NS,
) -> TppTask:
    """Read one task's probes after ablating each class.

    Latents are ranked by `max(0, mean_pos z̄_j - mean_neg z̄_j) (w_c . d_j)` on the training texts;
    only positive effects are ablated, fewer than n if there are fewer.

    Args:
        task: its name.
        classes: names of the classes.
        probes: from `fit_probes`.
        train: (text,) class indices of the training texts.
        z_train: (text, d_sae) their pooled latents.
        test: (text,) class indices of the test texts.
        x_test: (text, d) their pooled activations, at the site that the dictionary writes to.
        decoder: (d_sae, d) rows for the ranking.
        removal: `AffineRemoval(z_test, decoder)`, or a `MeasuredRemoval`.
        seed: the run's, for the canonical negatives.
        ns: ascending numbers of latents.

    Returns:
        What ablation does to the probes, by variant.

    Raises:
        DataError: a class without training or test texts, or a single class.

    Source: Karvonen et al. 2024 (arXiv 2411.18895).

    Three classes and a latent for each. Ablating one takes its own probe from a balanced accuracy
    of 1 to chance, and no other:

    >>> from pytest_sae.metrics.ablation import AffineRemoval
    >>> labels, x = np.arange(3), np.eye(3)
    >>> probes = LinearProbes(np.eye(3, dtype=np.float32), np.full(3, -0.5, np.float32))
    >>> z, sets = sparse.csr_array(x), ProbeSets(probes, (probes,))
    >>> removal = AffineRemoval(z, np.eye(3))
    >>> task = score_task("t", "abc", sets, labels, z, labels, x, np.eye(3), removal, 0, ns=(1,))
    >>> found = task.effects["accuracy"]
    >>> found.intended.sum(-1).tolist(), found.unintended.sum(-1).tolist()
    ([[0.5]], [[0.0]])
    """
    read = read_probes(probes, train, z_train, x_test, decoder, removal, ns)
    return read.score(task, classes, test, seed)


def read_probes(
    probes: ProbeSets,
    train: Indices,
    z_train: sparse.csr_array,
    x_test: NDArray[np.floating],
    decoder: Rows,
    removal: Removal,
    ns: Sequence[int] = NS,
) -> ProbeReadings:
    """Return what the probes read in every test text; args as of `score_task`.

    Args:
        probes: from `fit_probes`.
        train: (text,) class indices of the training texts.
        z_train: (text, d_sae) their pooled latents.
        x_test: (text, d) pooled activations of the test texts.
        decoder: (d_sae, d) rows for the ranking.
        removal: what ablation takes from the test texts.
        ns: ascending numbers of latents.

    Returns:
        Logits of all probes, untouched and after the ablation of each class.

    Three classes and a latent for each: what each ablation takes from each probe, over the texts.

    >>> from pytest_sae.metrics.ablation import AffineRemoval
    >>> labels, x = np.arange(3), np.eye(3)
    >>> probes = LinearProbes(np.eye(3, dtype=np.float32), np.full(3, -0.5, np.float32))
    >>> z, sets = sparse.csr_array(x), ProbeSets(probes, (probes,))
    >>> removal = AffineRemoval(z, np.eye(3))
    >>> read = read_probes(sets, labels, z, x, np.eye(3), removal, ns=(1,))
    >>> read.published.removed[:, 0].sum(-1).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    sets, count = probes.every, len(probes.published.weight)
    adds = written(decoder, np.concatenate([each.weight for each in sets]))
    once = np.ones(len(train))
    counts = [once, *(each.counts for each in probes.redrawn), *([once] * len(probes.fits))]
    orders = [
        _orders(adds[:, count * place : count * (place + 1)], z_train, train, drawn, max(ns))
        for place, drawn in enumerate(counts)
    ]
    published, *readings = (
        _Reading.of(each, places, x_test, removal, ns)
        for each, places in zip(sets, orders, strict=True)
    )
    first = len(probes.redrawn)
    return ProbeReadings(tuple(ns), published, tuple(readings[:first]), tuple(readings[first:]))


@dataclass(frozen=True)
class ProbeReadings:
    """What every probe reads in every test text, untouched and after each ablation.

    Args:
        ns: numbers of ablated latents.
        published: of the published probes.
        redrawn: of each fit of the published recipe on other training texts.
        fits: of each resampled fit.
    """

    ns: tuple[int, ...]
    published: _Reading
    redrawn: tuple[_Reading, ...]
    fits: tuple[_Reading, ...]

    def take(self, texts: Indices) -> ProbeReadings:
        """Return the readings of some of the texts, or of some of them several times."""
        redrawn, fits = (
            tuple(each.take(texts) for each in part) for part in (self.redrawn, self.fits)
        )
        return ProbeReadings(self.ns, self.published.take(texts), redrawn, fits)

    def score(self, task: str, classes: Sequence[str], test: Indices, seed: int) -> TppTask:
        """Return what ablation does to the probes.

        Args:
            task: its name.
            classes: names of the classes.
            test: (text,) class indices of the texts.
            seed: the run's, for the canonical negatives.
        """
        count = len(classes)
        targets, even = one_versus_rest(test, count), balanced(test, count)
        chosen = members(test, count, generator(seed, "tpp", task, "test"))
        fixed = chosen / chosen.sum(1, keepdims=True)
        effects: dict[Variant, Effects] = {
            "canonical": _stack([_accuracy(self.published, targets, fixed)]),
            "accuracy": _stack([_accuracy(each, targets, even) for each in self.fits]),
            "margin": _stack([_margin(each, targets, even) for each in self.fits]),
        }
        redrawn = [_accuracy(each, targets, fixed) for each in self.redrawn]
        scores = [(each.intended - each.unintended).sum(-1) for each in redrawn]
        between = np.stack(scores, axis=1) if scores else None
        return TppTask(task, tuple(classes), self.ns, test, effects, between)


def _orders(
    adds: Floats, z: sparse.csr_array, labels: Indices, counts: Floats, most: int
) -> list[Indices]:
    """The latents of each class; adds: (d_sae, class), counts: (text,) how often each is drawn."""
    targets = one_versus_rest(labels, adds.shape[1])
    # The negatives' mean gives every other class the same share, as their probes do.
    share = equal_cells(labels) * counts
    return [
        order(
            np.maximum(0.0, mean_difference(z, target * share, ~target * share)) * adds[:, c], most
        )
        for c, target in enumerate(targets)
    ]


@dataclass(frozen=True)
class _Reading:
    clean: Floats  # (probe, text)
    removed: Floats  # (class, n, probe, text)
    latents: NDArray[np.int64]  # (class,)

    @classmethod
    def of(
        cls,
        probes: LinearProbes,
        orders: list[Indices],
        x: NDArray[np.floating],
        removal: Removal,
        ns: Sequence[int],
    ) -> _Reading:
        removed = removal.logits(orders, ns, probes.weight)
        return cls(
            probes.logits(x),
            np.swapaxes(removed, 2, 3),
            np.array([len(latents) for latents in orders]),
        )

    def take(self, texts: Indices) -> _Reading:
        return _Reading(self.clean[:, texts], self.removed[..., texts], self.latents)


def _accuracy(reading: _Reading, targets: Bools, weights: Floats) -> Effects:
    """Losses of accuracy; chance is what a coin gets on half positives, half negatives."""
    right = (reading.clean > 0) == targets
    kept = (reading.clean - reading.removed > 0) == targets
    losses = (right.astype(np.float64) - kept) * weights
    return _split(losses, (right - 0.5) * weights, reading.latents)


def _margin(reading: _Reading, targets: Bools, weights: Floats) -> Effects:
    """Losses of the mean margin `y logit`, in units of its spread over the clean texts."""
    signs = np.where(targets, 1.0, -1.0)
    clean = signs * reading.clean
    mean = (clean * weights).sum(1, keepdims=True)
    spread = np.sqrt((np.square(clean - mean) * weights).sum(1, keepdims=True))
    scaled = weights * signs / np.where(spread > 0, spread, 1.0)
    return _split(reading.removed * scaled, reading.clean * scaled, reading.latents)


def _split(losses: Floats, achievable: Floats, latents: NDArray[np.int64]) -> Effects:
    """(class, n, probe, text) losses to the effects of one fit."""
    own = np.einsum("cnct->cnt", losses)
    others = (losses.sum(2) - own) / (len(losses) - 1)
    return Effects(
        own.mean(0), others.mean(0), achievable.mean(0), np.swapaxes(losses.sum(-1), 0, 1), latents
    )


def _stack(fits: Sequence[Effects]) -> Effects:
    return Effects(
        np.stack([fit.intended for fit in fits], axis=1),
        np.stack([fit.unintended for fit in fits], axis=1),
        np.stack([fit.achievable for fit in fits]),
        np.mean([fit.losses for fit in fits], axis=0),
        np.stack([fit.latents for fit in fits]),
    )
