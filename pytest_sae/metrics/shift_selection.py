"""Which latents SHIFT ablates: candidates by effect, what a judge accepts, an oracle's choice.

candidates(probes, train, z_train, decoder, most=20) -> Candidates
Opinion(ratings, reason, contexts).accepted(about) -> the concept that it is about, or None
accepted(latents, opinions, about) -> latents                  # about = {concept: its name}
Oracle(confounded, removed, labels).choose(most) -> places of candidates
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pytest_sae.metrics.ablation import Bools, Indices, Rows, mean_difference, order, written
from pytest_sae.metrics.probe_bootstrap import equal_cells
from pytest_sae.metrics.scr import CONCEPTS, DIRECTIONS, Concept, Quadrants
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.probes import ProbeSets

#: A judge's rating that accepts a latent: some of its evidence is clearly about the concept.
ACCEPTED = 2
#: Latents taken per concept.
MOST = 20


@dataclass(frozen=True)
class Candidates:
    """The latents of a task that a judge is asked about.

    Args:
        orders: per concept, its latents by descending effect.
        effects: per concept, (d_sae,) `|mean_pos z̄_j - mean_neg z̄_j| |w_c . d_j|`, the mean over
            the probe fits.
    """

    orders: Mapping[Concept, Indices]
    effects: Mapping[Concept, Floats]

    @property
    def latents(self) -> Indices:
        """The distinct ones, by descending effect on the spurious concept, then on the other."""
        union = np.unique(np.concatenate([self.orders[each] for each in DIRECTIONS]))
        keys = (-self.effects["intended"][union], -self.effects["spurious"][union])
        return union[np.lexsort(keys)]


def candidates(
    probes: ProbeSets,
    train: Quadrants,
    z_train: sparse.csr_array,
    decoder: Rows,
    most: int = MOST,
) -> Candidates:
    """Return the latents with the largest effect on either concept.

    One order per concept serves all probe fits, so that a judge is asked about one set of latents.

    Args:
        probes: from `scr.fit_probes`.
        train: labels of the training texts.
        z_train: (text, d_sae) their pooled latents.
        decoder: (d_sae, d) rows.
        most: latents per concept.

    Returns:
        The latents by concept, and all effects.

    >>> labels = Quadrants(np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool))
    >>> z = sparse.csr_array(np.stack([labels.intended, labels.spurious], axis=1) * 1.0)
    >>> from pytest_sae.probes import LinearProbes
    >>> weight = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
    >>> probes = LinearProbes(weight, np.zeros(3, np.float32))
    >>> found = candidates(ProbeSets(probes, (probes,)), labels, z, np.eye(2))
    >>> {concept: latents.tolist() for concept, latents in found.orders.items()}
    {'spurious': [1], 'intended': [0]}
    """
    effects = {
        concept: np.abs(mean_difference(z_train, train.label(concept), ~train.label(concept)))
        * np.abs(written(decoder, _weights(probes, concept))).mean(1)
        for concept in DIRECTIONS
    }
    return Candidates({each: order(effects[each], most) for each in DIRECTIONS}, effects)


def _weights(probes: ProbeSets, concept: Concept) -> NDArray[np.float32]:
    return np.stack([fit.weight[CONCEPTS.index(concept)] for fit in probes.fits])


@dataclass(frozen=True)
class Opinion:
    """What a judge says about one latent.

    Args:
        ratings: 0 (not at all) to 4 by name of concept; None where the judge abstained.
        reason: of the ratings, or why there are none.
        contexts: the strongest evidence as the judge read it, for the report.
    """

    ratings: Mapping[str, int] | None
    reason: str = ""
    contexts: tuple[str, ...] = field(default=(), repr=False)

    def accepted(self, about: Mapping[Concept, str]) -> Concept | None:
        """Return the one of a task's two concepts that the latent is about, None for neither.

        Args:
            about: the concepts' names.
        """
        if self.ratings is None:
            return None
        intended, spurious = (self.ratings[about[each]] for each in ("intended", "spurious"))
        if max(intended, spurious) < ACCEPTED or intended == spurious:
            return None
        return "spurious" if spurious > intended else "intended"


def accepted(
    latents: Sequence[int] | Indices, opinions: Mapping[int, Opinion], about: Mapping[Concept, str]
) -> Indices:
    """Return the latents that are accepted for the spurious concept, in their order.

    Args:
        latents: indices, in any order.
        opinions: of the judge, by latent.
        about: names of the task's concepts, as the opinions spell them.

    Returns:
        Indices of latents.

    >>> opinions = {3: Opinion({"job": 0, "gender": 4}), 5: Opinion({"job": 3, "gender": 2})}
    >>> accepted([5, 3], opinions, {"intended": "job", "spurious": "gender"}).tolist()
    [3]
    """
    chosen = [each for each in latents if opinions[int(each)].accepted(about) == "spurious"]
    return np.array(chosen, np.int64)


@dataclass(frozen=True)
class Oracle:
    """Chooses latents by what their ablation does to labelled texts: a bound for any judge.

    Args:
        confounded: (fit, text) logits of the confounded probes on the validation texts.
        removed: (latent, fit, text) what ablating each candidate takes from them. Taken together
            their sum is used, which is exact where the decoder is affine.
        labels: of the validation texts.
    """

    confounded: Floats
    removed: Floats
    labels: Quadrants

    def choose(self, most: int) -> list[int]:
        """Return places of candidates, greedily, while the intended label is read better.

        Better is a higher balanced accuracy, or the same one at a higher margin (the correlation
        of logit and label); both are means over the fits.
        """
        chosen: list[int] = []
        logits = self.confounded
        reached = self.scores(logits[None])[0]
        while len(chosen) < most:
            left = [each for each in range(len(self.removed)) if each not in chosen]
            if not left:
                break
            scores = self.scores(logits - self.removed[left])
            best = max(range(len(left)), key=lambda place: tuple(scores[place]))
            if tuple(scores[best]) <= tuple(reached):
                break
            chosen.append(left[best])
            logits, reached = logits - self.removed[left[best]], scores[best]
        return chosen

    def scores(self, logits: Floats) -> Floats:
        """(set, fit, text) to (set, 2): balanced accuracy on the intended label, and margin."""
        weights = equal_cells(self.labels.cells)
        signs = np.where(self.labels.intended, 1.0, -1.0)
        accuracy = ((logits > 0) == self.labels.intended) @ weights
        mean = logits @ weights
        spread = np.sqrt(np.maximum((logits - mean[..., None]) ** 2 @ weights, 0.0))
        margin = (logits @ (weights * signs)) / np.where(spread > 0, spread, 1.0)
        # Rounded, so that equal accuracies are a tie and not a matter of the sum's last bit.
        return np.stack([accuracy.mean(1).round(9), margin.mean(1).round(9)], axis=1)


def validation(train: Quadrants, confounded: Floats) -> Bools:
    """Return (text,) which training texts an oracle looks at: every other one of each cell.

    Taken by rank and not by position, so that the order of the texts changes nothing.

    Args:
        train: labels of the training texts.
        confounded: (fit, text) logits of the confounded probes; the first fit's rank the texts.

    Returns:
        True for those that are looked at.

    >>> labels = Quadrants(np.arange(8) % 4 > 1, np.arange(8) % 2 > 0)
    >>> validation(labels, np.arange(8.0)[None]).tolist()
    [True, True, True, True, False, False, False, False]
    """
    chosen = np.zeros(len(train.cells), bool)
    for cell in range(4):
        members = np.flatnonzero(train.cells == cell)
        chosen[members[np.argsort(confounded[0, members], kind="stable")][::2]] = True
    return chosen
