"""Concept deletion and insertion: how few latents carry what a probe reads, and which they are.

ProbedConcept(...) ; curves(concept, most, seed) -> Curves
fidelity(concept, seed) -> float            # whether importance tells what removing latents does
stability(importance of halves) -> float    # whether other texts call the same latents important
estimates([Carried, ...], couplings) -> list[Estimate]
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

NAMES = ("concept_deletion", "concept_insertion", "concept_fidelity", "concept_stability")
MOST = 100  # latents removed or added
ORDERS = 10  # random orders that the floor averages over
SHOWN = (0, 1, 2, 5, 10, 20, 50, 100)
SUBSETS = 64  # of latents, that are removed at random for the fidelity
SHARE = 0.5  # of the latents that a subset holds
SPLITS = 4  # of the training texts into halves, for the stability
FIRST = 20  # latents of either half that are compared


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
        usual: (d_sae,) mean latents of the *training* texts, both labels weighing the same.
    """

    name: str
    labels: Bools
    logits: Floats
    z: sparse.csr_array
    adds: Floats
    importance: Floats
    live: Indices
    usual: Floats


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
    >>> one = ProbedConcept("c", labels, np.array([-1.0, 1.0]), z, adds, adds, np.arange(2),
    ...     np.zeros(2))
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


def fidelity(concept: ProbedConcept, seed: int) -> float:
    """Return whether the importance of latents tells what becomes of a text without them.

    Half of the `MOST` most important latents and of as many others are set, at random and again
    and again, to what they usually are. In every text that has the concept: the correlation, over
    these subsets, of the sum of their importance with the belief in the concept that is lost
    (muFidelity: Bhatt et al. 2020, arXiv 2005.00631; of concepts, Fel et al. 2023, arXiv
    2306.07304). The importance is that of the training texts, the same for every text; it is a
    difference between labels, so that what is common to both must not count as lost.

    Args:
        concept: its probe, texts and latents.
        seed: of the subsets.

    Returns:
        -1 to 1, mean over texts; 0 in texts where no subset changes anything. Higher is better.

    One latent is all there is to it, and its importance says so:

    >>> z = sparse.csr_array(np.array([[0.0, 1.0], [2.0, 1.0]]))
    >>> adds, labels = np.array([1.0, 0.0]), np.array([False, True])
    >>> one = ProbedConcept("c", labels, np.array([-1.0, 1.0]), z, adds, adds, np.arange(2),
    ...     np.ones(2))
    >>> round(fidelity(one, seed=0), 6)
    1.0
    """
    rng = generator(seed, "concepts", concept.name, "subsets")
    latents = _important_and_others(concept, rng)
    subsets = (rng.random((len(latents), SUBSETS)) < SHARE).astype(np.float64)
    z = concept.z[np.flatnonzero(concept.labels)][:, latents].toarray()
    amounts = (z - concept.usual[latents]) * concept.adds[latents]
    logits = concept.logits[concept.labels][:, None]
    lost = expit(logits) - expit(logits - amounts @ subsets)
    return float(_correlations(lost, concept.importance[latents] @ subsets).mean())


def _important_and_others(concept: ProbedConcept, rng: np.random.Generator) -> Indices:
    best = order(concept.importance, MOST)
    others = np.setdiff1d(concept.live, best)
    # From an order of their own, so that how latents are numbered does not change the draw.
    others = others[np.argsort(concept.importance[others], kind="stable")]
    return np.concatenate([best, rng.permutation(others)[:MOST]])


def _correlations(rows: Floats, with_row: Floats) -> Floats:
    """(text,) of each row with one row; 0 where either does not vary."""
    rows, one = rows - rows.mean(1, keepdims=True), with_row - with_row.mean()
    spread = np.linalg.norm(rows, axis=1) * np.linalg.norm(one)
    varies = spread > 1e-12
    result: Floats = np.where(varies, rows @ one / np.where(varies, spread, 1.0), 0.0)
    return result


def stability(halves: Sequence[tuple[Floats, Floats]], first: int = FIRST) -> float:
    """Return whether two halves of the training texts call the same latents important.

    Args:
        halves: (d_sae,) importance by one half and by the other, of every split.
        first: latents of either half that are compared.

    Returns:
        0 to 1, the share of the most important latents that both halves have, mean over splits;
        `first` over the number of latents is chance. 0 where neither finds any. Higher is better.

    >>> stability([(np.array([3.0, 2.0, 1.0, 0.0]), np.array([3.0, 0.0, 1.0, 2.0]))], first=2)
    0.5
    """
    shares = []
    for one, other in halves:
        a, b = order(one, first), order(other, first)
        most = max(len(a), len(b))
        shares.append(len(np.intersect1d(a, b)) / most if most else 0.0)
    return float(np.mean(shares))


@dataclass(frozen=True, eq=False)
class Carried:
    """One concept, as latents carry it.

    Args:
        name: of the concept.
        curves: from `curves`.
        fidelity: from `fidelity`.
        stability: from `stability`.
    """

    name: str
    curves: Curves
    fidelity: float
    stability: float


def estimates(
    found: Sequence[Carried], couplings: dict[str, list[dict[str, float]]]
) -> list[Estimate]:
    """Return what latents carry of concepts, means over concepts.

    - concept_deletion: how much less the truth is believed after removing the 1, 2, ... 100 most
      important latents than after removing as many at random, averaged over n (C-Deletion of Fel
      et al. 2023, "A holistic approach to unifying automatic concept extraction and concept
      importance estimation", arXiv 2306.07304, with its random order as floor).
    - concept_insertion: how much more it is believed with the most important latents added to
      none than with as many random ones (C-Insertion).
    - concept_fidelity, see `fidelity`, and concept_stability, see `stability`.

    Latents are ordered by what they add on the training texts; for a linear probe that order is
    optimal there.

    Args:
        found: the concepts.
        couplings: of each concept's most important latents with its probe, for the report.

    Returns:
        -1 to 1 in probability; 0 is what random latents do; higher means that fewer latents carry
        the concept. Fidelity is a correlation, stability a share from 0 to 1, higher is better.
        The interval is the normal one over concepts.

    >>> low, high = np.array([0.75, 0.5]), np.array([0.75, 0.75])
    >>> found = estimates([Carried("c", Curves(low, high, high, low), 0.5, 1.0)], {})
    >>> [(each.metric, each.value) for each in found][:2]
    [('concept_deletion', 0.25), ('concept_insertion', 0.25)]
    """
    if not found:
        return [undefined(name, "there is no concept to read") for name in NAMES]
    kinds = (("deletion", 0), ("insertion", 1))
    results = []
    for kind, place in kinds:
        areas = np.array([each.curves.areas[place] for each in found])
        mean = np.mean([getattr(each.curves, kind) for each in found], axis=0)
        floor = np.mean([getattr(each.curves, f"{kind}_floor") for each in found], axis=0)
        details: dict[str, object] = {
            "curve": _points(mean),
            "floor": _points(floor),
            "concepts": _by_name(found, areas),
        }
        if kind == "deletion":
            details["couplings"] = couplings
        results.append(mean_estimate(f"concept_{kind}", areas, "concepts", details))
    for name in ("fidelity", "stability"):
        values = np.array([getattr(each, name) for each in found])
        details = {"concepts": _by_name(found, values)}
        results.append(mean_estimate(f"concept_{name}", values, "concepts", details))
    return results


def _by_name(found: Sequence[Carried], values: Floats) -> dict[str, float]:
    return {each.name: value for each, value in zip(found, values.tolist(), strict=True)}


def _points(curve: NDArray[np.float64]) -> list[dict[str, float]]:
    return [{"n": n, "value": float(curve[n])} for n in SHOWN if n < len(curve)]
