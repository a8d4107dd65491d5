"""The erasure frontier: how much of a concept goes, and what else goes with it.

    TaskTexts(...)      # in `frontier_texts`: texts, concepts and probes; no dictionary has a part
    references(texts, words) -> References   # LEACE, mean difference, word deletion: cache it
    Ablation(z_train, rows, removal_train, removal)
    trace(texts, references, ablation, seed, ns=NS) -> list[Frontier]    # one per concept
    estimates(frontiers, seed) -> list[Estimate]                     # in `frontier_estimates`

For one concept (a label of an SCR task, what tells two classes of a TPP task apart) the first n
latents are ablated by descending effect `(mean_pos z̄_j - mean_neg z̄_j) (v . d_j)`, v the concept's
`probes.Refits` direction on the untouched training texts: the effect is the latent's share of that
probe's margin between the class means. Only positive effects are ablated.

On the test texts, with A the AUC of the concept's probe **refitted after ablation** and B the mean
AUC of the other concepts' probes, which stay the ones that SCR and TPP read,

    removal    r(n) = (A(0) - A(n)) / (A(0) - 1/2)
    collateral d(n) = (B(0) - B(n)) / (B(0) - 1/2)

Both are the strict reading: hiding a concept from one probe removes nothing, and a probe that is
in use is damaged although a new one would do as well. What becomes of these curves:
`frontier_estimates`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from pytest_sae.metrics.ablation import (
    Indices,
    Removal,
    Rows,
    lengths,
    mean_difference,
    order,
    written,
)
from pytest_sae.metrics.erasers import leace, mean_difference_eraser
from pytest_sae.metrics.frontier_texts import ErasedConcept, Pair, ProbeAucs, TaskTexts
from pytest_sae.metrics.probe_bootstrap import equal_cells
from pytest_sae.numbers.bootstrap import Floats, generator

#: Numbers of latents that are ablated.
NS = (1, 2, 5, 10, 20, 50, 100, 200)
#: Random orders that the reference of random latents averages over.
ORDERS = 2


@dataclass(frozen=True)
class References:
    """What is read of a task without any dictionary; every curve has one point.

    Args:
        directions: (concept, d) probes that rank latents.
        curves: by concept, by name: `clean`, `leace`, `mean_difference`, and `words` where the
            concept has words to delete.
    """

    directions: Floats
    curves: Sequence[Mapping[str, ProbeAucs]]

    def to_arrays(self) -> dict[str, Floats]:
        """Return a flat dict of arrays, for a cache."""
        parts = {
            f"{concept}.{name}.{part}": getattr(readings, part)
            for concept, curves in enumerate(self.curves)
            for name, readings in curves.items()
            for part in _PARTS
        }
        return {"directions": self.directions, **parts}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Floats]) -> References:
        """Undo `to_arrays`."""
        directions = arrays["directions"]
        names = [key.split(".")[:2] for key in arrays if key.endswith(f".{_PARTS[0]}")]
        curves = [
            {
                name: ProbeAucs(*(arrays[f"{concept}.{name}.{part}"] for part in _PARTS))
                for place, name in names
                if place == str(concept)
            }
            for concept in range(len(directions))
        ]
        return cls(directions, curves)


_PARTS = ("own", "others", "known")


def references(texts: TaskTexts, words: Sequence[Pair | None] = ()) -> References:
    """Read a task's texts untouched, after LEACE, after mean-difference erasure, without words.

    Args:
        texts: the task.
        words: per concept, the pooled training and test texts without the concept's words, None
            where it names none; empty if no concept does.

    Returns:
        Curves of one point per concept, and the directions that rank latents.

    Raises:
        MeasurementError: activations that are not finite.

    Two labels, an axis each. LEACE leaves the AUC of the own probe, fitted again, at 1/2 and that
    of the other label's probe at 1:

    >>> from pytest_sae.metrics.frontier_texts import two_labels
    >>> both = np.stack([np.arange(16) % 2, np.arange(16) // 2 % 2]) > 0
    >>> x, cells = both.T * 2.0 - 1, np.arange(16) % 4
    >>> drawn = 2.0 * (np.arange(16) < 8)[None]       # one fit, on the first eight texts
    >>> concepts = two_labels(("job", "gender"), both, both)
    >>> texts = TaskTexts("t", concepts, cells, cells, x, x, np.eye(2)[None], drawn)
    >>> left = references(texts).curves[0]["leace"]
    >>> round(float(left.own.sum()), 6), round(float(left.others.sum()), 6)
    (0.5, 1.0)
    """
    x = np.asarray(texts.x_train, np.float64), np.asarray(texts.x_test, np.float64)
    curves = []
    erasers = {"leace": leace, "mean_difference": mean_difference_eraser}
    for place, concept in enumerate(texts.concepts):
        used, positive = concept.own.train >= 0, concept.own.train > 0
        changes: dict[str, Pair | None] = {"clean": x}
        for name, fit in erasers.items():
            erase = fit(texts.x_train[used], positive[used])
            changes[name] = erase(x[0]), erase(x[1])
        changes["words"] = words[place] if words else None
        curves.append({n: texts.read(concept, [c]) for n, c in changes.items() if c is not None})
    return References(np.stack([texts.direction(each) for each in texts.concepts]), curves)


@dataclass(frozen=True)
class Ablation:
    """One dictionary on a task's texts.

    Args:
        z_train: (text, d_sae) pooled latents of the training texts.
        rows: (d_sae, d) decoder rows, or what ranks latents in their place.
        removal_train: what ablation takes from the training texts.
        removal: what it takes from the test texts.
    """

    z_train: sparse.csr_array
    rows: Rows
    removal_train: Removal
    removal: Removal

    def changes(self, texts: TaskTexts, latents: Indices, ns: Sequence[int]) -> Iterable[Pair]:
        """Give the texts after ablation of the first n latents, for every n."""
        train = self.removal_train.prefixes(latents, ns)
        test = self.removal.prefixes(latents, ns)
        x: list[Tensor] = []
        for gone_train, gone_test in zip(train, test, strict=True):
            x = x or [_beside(gone_train, each) for each in (texts.x_train, texts.x_test)]
            yield x[0] - gone_train, x[1] - gone_test

    def read(
        self, texts: TaskTexts, concept: ErasedConcept, latents: Indices, ns: Sequence[int]
    ) -> ProbeAucs:
        """Return what the probes read after ablation of the first n latents, for every n."""
        return texts.read(concept, self.changes(texts, latents, ns))

    def live(self, strength: Floats) -> Indices:
        """Return the latents that fire on the training texts, however they are numbered.

        By descending strength, then by how much they write: no order of the file has a part.
        """
        written = self.z_train.sum(0) * self._lengths
        fire = np.flatnonzero(written)
        return fire[np.lexsort((-written[fire], -strength[fire]))]

    @cached_property
    def _lengths(self) -> Floats:
        return lengths(self.rows)

    def shuffled(self, strength: Floats, rng: np.random.Generator, orders: int) -> list[Indices]:
        """Return the latents that fire, in random orders."""
        live = self.live(strength)
        return [live[rng.permutation(len(live))] for _ in range(orders)]

    def effects(self, texts: TaskTexts, directions: Floats, counts: Floats | None = None) -> Floats:
        """Return each latent's share of the margin of each concept's probe, (concept, d_sae).

        Args:
            texts: the task.
            directions: (concept, d) of the probes.
            counts: (text,) how often each training text counts; None for once.
        """
        share = equal_cells(texts.cells_train) * (1.0 if counts is None else counts)
        contrasts = [
            mean_difference(
                self.z_train, (each.own.train == 1) * share, (each.own.train == 0) * share
            )
            for each in texts.concepts
        ]
        return np.stack(contrasts) * written(self.rows, directions).T


def _beside(there: Tensor, x: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.array(x)).to(there.device).double()


@dataclass(frozen=True)
class Frontier:
    """One concept erased by one dictionary, beside the references.

    Args:
        task: its name.
        concept: its name.
        ns: numbers of ablated latents.
        cells: (text,) quadrant or class of each test text.
        key: (text,) orders the test texts wherever they stand.
        latents: those that are ablated, in their order.
        clean: of the untouched texts, one point.
        sae: after ablation of the first n.
        random: after ablation of random latents of the same total effect, per random order.
        erased: one point each, by name.
    """

    task: str
    concept: str
    ns: tuple[int, ...]
    cells: NDArray[np.int64]
    key: Floats
    latents: Indices
    clean: ProbeAucs
    sae: ProbeAucs
    random: tuple[ProbeAucs, ...]
    erased: Mapping[str, ProbeAucs]


def trace(
    texts: TaskTexts,
    references: References,
    ablation: Ablation,
    seed: int,
    ns: Sequence[int] = NS,
    orders: int = ORDERS,
) -> list[Frontier]:
    """Ablate each concept's latents step by step, and random ones beside them.

    Args:
        texts: the task.
        references: from `references(texts)`.
        ablation: the dictionary.
        seed: the run's, for the random latents.
        ns: ascending numbers of latents.
        orders: random orders.

    Returns:
        One frontier per concept, in the order of the task.

    Raises:
        MeasurementError: activations that are not finite.

    Two labels, an axis and a latent each. Ablating the own latent leaves the AUC of a probe fitted
    again at 1/2 and the other label's probe at 1:

    >>> from pytest_sae.metrics.ablation import AffineRemoval
    >>> from pytest_sae.metrics.frontier_texts import two_labels
    >>> both = np.stack([np.arange(16) % 2, np.arange(16) // 2 % 2]) > 0
    >>> x, cells = both.T * 2.0 - 1, np.arange(16) % 4
    >>> drawn = 2.0 * (np.arange(16) < 8)[None]       # one fit, on the first eight texts
    >>> concepts = two_labels(("job", "gender"), both, both)
    >>> texts = TaskTexts("t", concepts, cells, cells, x, x, np.eye(2)[None], drawn)
    >>> z, rows = sparse.csr_array(both.T * 1.0), 2 * np.eye(2)
    >>> ours = Ablation(z, rows, AffineRemoval(z, rows), AffineRemoval(z, rows))
    >>> job, gender = trace(texts, references(texts), ours, seed=0, ns=(1,))
    >>> job.latents.tolist(), float(job.sae.own.sum()), float(job.sae.others.sum())
    ([0], 0.5, 1.0)
    """
    effects = ablation.effects(texts, references.directions)
    return [
        _frontier(
            texts,
            concept,
            curves,
            ablation,
            of_concept,
            tuple(ns),
            ablation.shuffled(
                np.abs(of_concept),
                generator(seed, "erasure", texts.name, concept.name, "random"),
                orders,
            ),
        )
        for concept, curves, of_concept in zip(
            texts.concepts, references.curves, effects, strict=True
        )
    ]


def _frontier(
    texts: TaskTexts,
    concept: ErasedConcept,
    curves: Mapping[str, ProbeAucs],
    ablation: Ablation,
    effects: Floats,
    ns: tuple[int, ...],
    shuffled: Sequence[Indices],
) -> Frontier:
    """One concept's; effects: (d_sae,) of this concept."""
    ranked, strength = order(effects, len(effects)), np.abs(effects)
    counts = [matched(strength, ranked, each, ns) for each in shuffled]
    return Frontier(
        texts.name,
        concept.name,
        ns,
        texts.cells_test,
        texts.key,
        ranked[: max(ns)],
        curves["clean"],
        ablation.read(texts, concept, ranked, ns),
        tuple(
            ablation.read(texts, concept, latents, up_to)
            for latents, up_to in zip(shuffled, counts, strict=True)
        ),
        {name: readings for name, readings in curves.items() if name != "clean"},
    )


def matched(
    strength: Floats, ranked: Indices, shuffled: Indices, ns: Sequence[int]
) -> tuple[int, ...]:
    """Return how many latents of a random order have the total effect of the first n, for every n.

    Args:
        strength: (d_sae,) absolute effects.
        ranked: latents that are ablated, in their order.
        shuffled: all latents that fire, in random order.
        ns: ascending numbers of latents.

    Returns:
        One count per n, at most all latents that fire.

    >>> strength, ranked = np.array([4.0, 1.0, 1.0, 2.0]), np.array([0, 3])
    >>> matched(strength, ranked, np.array([1, 3, 2, 0]), (1, 2))
    (3, 4)
    """
    if not len(ranked):
        return (0,) * len(ns)
    wanted = np.cumsum(strength[ranked])[np.minimum(ns, len(ranked)) - 1]
    # The last sum may miss the whole by rounding.
    reached = np.searchsorted(np.cumsum(strength[shuffled]), wanted) + 1
    return tuple(int(count) for count in np.minimum(reached, len(shuffled)))
