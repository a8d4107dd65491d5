"""Concept deletion and insertion: how few latents carry what a probe reads.

ProbedConcept(...) ; curves(concept, most, seed) -> Curves
estimates([(name, Curves), ...]) -> [concept_deletion, concept_insertion]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit

from pytest_sae.metrics.ablation import Bools, Indices, order
from pytest_sae.numbers.bootstrap import Floats, generator, mean_estimate
from pytest_sae.numbers.estimate import Estimate, undefined

NAMES = ("concept_deletion", "concept_insertion")
MOST = 100  # latents removed or added
ORDERS = 10  # random orders that the floor averages over
SHOWN = (0, 1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True, eq=False)
class ProbedConcept:
    """A concept that a linear probe reads from mean activations of texts, and a dictionary there.

    Args:
        name: unique; part of what seeds the random orders.
        labels: (text,) of the test texts.
        logits: (text,) of the probe on them, untouched.
        z: (text, d_sae) mean latents of the test texts.
        adds: (d_sae,) `w . d_j`, what one unit of each latent adds to the logit.
        importance: (d_sae,) from the *training* texts, such as their mean difference times `adds`.
        live: (J,) latents that are active in some training text, for the random orders.
    """

    name: str
    labels: Bools
    logits: Floats
    z: sparse.csr_array
    adds: Floats
    importance: Floats
    live: Indices


@dataclass(frozen=True, eq=False)
class Curves:
    """What a probe gives its true label, while latents are removed or added one by one.

    Args:
        deletion: (n + 1,) after removing the n most important.
        insertion: (n + 1,) with all latents removed but the n most important.
        deletion_floor: (n + 1,) in random orders.
        insertion_floor: (n + 1,) in random orders.
    """

    deletion: Floats
    insertion: Floats
    deletion_floor: Floats
    insertion_floor: Floats

    @property
    def areas(self) -> tuple[float, float]:
        """What deleting takes and what inserting gives, on average over n, beyond the floor."""
        lost = (self.deletion_floor - self.deletion)[1:].mean()
        won = (self.insertion - self.insertion_floor)[1:].mean()
        return float(lost), float(won)


def curves(concept: ProbedConcept, seed: int, most: int = MOST) -> Curves:
    """Return the deletion and insertion curves of a concept, and their floors.

    The output is `P = mean of sigma(s_i logit_i)` over texts, s_i the sign of the label, both
    labels weighing the same: the probability that the probe gives to the truth. By the identity of
    `metrics.ablation` removing latents subtracts `z̄_ij (w . d_j)` from the logit.

    Args:
        concept: its probe, texts and latents.
        seed: of the random orders.
        most: latents removed or added at most.

    Returns:
        Probabilities from 0 to 1, by number of latents.

    One latent carries the label, logit 0 or 2 less the threshold of 1; without it the truth is
    believed as often as not:

    >>> z = sparse.csr_array(np.array([[0.0, 1.0], [2.0, 1.0]]))
    >>> adds, labels = np.array([1.0, 0.0]), np.array([False, True])
    >>> one = ProbedConcept("c", labels, np.array([-1.0, 1.0]), z, adds, adds, np.arange(2))
    >>> curves(one, seed=0, most=1).deletion.round(4).tolist()
    [0.7311, 0.5]
    """
    best = order(concept.importance, most)
    rng = generator(seed, "concepts", concept.name)
    # From an order of their own, so that how latents are numbered does not change the draw.
    live = concept.live[np.argsort(concept.importance[concept.live], kind="stable")]
    drawn = [rng.permutation(live)[:most] for _ in range(ORDERS)]
    whole = concept.z @ concept.adds
    floors = [_outputs(concept, latents, whole, most) for latents in drawn]
    deletion, insertion = _outputs(concept, best, whole, most)
    return Curves(
        deletion,
        insertion,
        np.mean([each[0] for each in floors], axis=0),
        np.mean([each[1] for each in floors], axis=0),
    )


def _outputs(
    concept: ProbedConcept, latents: Indices, whole: Floats, most: int
) -> tuple[Floats, Floats]:
    """Return P after removing and after adding the first n; constant once there are no more."""
    amounts = concept.z[:, latents].toarray().astype(np.float64) * concept.adds[latents]
    amounts = np.pad(amounts, ((0, 0), (1, most - len(latents))))
    moved = np.cumsum(amounts, axis=1)
    signs = np.where(concept.labels, 1.0, -1.0)
    shares = np.where(concept.labels, 0.5 / concept.labels.sum(), 0.5 / (~concept.labels).sum())
    removed = concept.logits[:, None] - moved
    added = (concept.logits - whole)[:, None] + moved
    return (shares @ expit(signs[:, None] * removed), shares @ expit(signs[:, None] * added))


def estimates(
    found: Sequence[tuple[str, Curves]], couplings: dict[str, list[dict[str, float]]]
) -> list[Estimate]:
    """Return concept_deletion and concept_insertion, means over concepts.

    - concept_deletion: how much less the truth is believed after removing the 1, 2, ... 100 most
      important latents than after removing as many at random, averaged over n (C-Deletion of Fel
      et al. 2023, "A holistic approach to unifying automatic concept extraction and concept
      importance estimation", arXiv 2306.07304, with its random order as floor).
    - concept_insertion: how much more it is believed with the most important latents added to
      none than with as many random ones (C-Insertion).

    Latents are ordered by what they add on the training texts; for a linear probe that order is
    optimal there.

    Args:
        found: concepts by name.
        couplings: of each concept's most important latents with its probe, for the report.

    Returns:
        -1 to 1 in probability; 0 is what random latents do; higher means that fewer latents carry
        the concept. The interval is the normal one over concepts.

    >>> low, high = np.array([0.75, 0.5]), np.array([0.75, 0.75])
    >>> found = estimates([("c", Curves(low, high, high, low))], {})
    >>> [(each.metric, each.value) for each in found]
    [('concept_deletion', 0.25), ('concept_insertion', 0.25)]
    """
    if not found:
        return [undefined(name, "there is no concept to read") for name in NAMES]
    kinds = (("deletion", 0), ("insertion", 1))
    results = []
    for kind, place in kinds:
        areas = np.array([each.areas[place] for _, each in found])
        mean = np.mean([getattr(each, kind) for _, each in found], axis=0)
        floor = np.mean([getattr(each, f"{kind}_floor") for _, each in found], axis=0)
        details: dict[str, object] = {
            "curve": _points(mean),
            "floor": _points(floor),
            "concepts": {name: area for (name, _), area in zip(found, areas.tolist(), strict=True)},
        }
        if kind == "deletion":
            details["couplings"] = couplings
        results.append(mean_estimate(f"concept_{kind}", areas, "concepts", details))
    return results


def _points(curve: NDArray[np.float64]) -> list[dict[str, float]]:
    return [{"n": n, "value": float(curve[n])} for n in SHOWN if n < len(curve)]
