"""What is erased and what must stay: concepts, their texts, and how probes read both.

two_labels(names, train, test) -> concepts          pairs(classes, train, test) -> concepts
TaskTexts(...) .read(concept, changes) -> ProbeAucs      # the own probe refitted after each change
TaskTexts(...) .scores(concept, changes) -> ProbeScores      # the same before it becomes AUCs
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.metrics.ablation import Bools
from pytest_sae.metrics.auc import contributions
from pytest_sae.metrics.probe_bootstrap import equal_cells
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.probes import Refits

Texts = NDArray[np.floating] | Tensor
Pair = tuple[Texts, Texts]


@dataclass(frozen=True)
class ProbeAucs:
    """What probes read at the points of one curve.

    Args:
        own: (point, fit, text) each test text's share of the refitted probe's AUC.
        others: (point, fit, text) the same of the other concepts' probes, mean over them.
        known: (point, 2) both AUCs on the training texts that a fit has not seen, mean over fits:
            what may be looked at to choose among the points.
    """

    own: Floats
    others: Floats
    known: Floats


@dataclass(frozen=True)
class ProbeScores:
    """What probes say of every test text at the points of one curve, before it becomes AUCs.

    Args:
        own: (point, fit, text) of the refitted probe.
        others: (other, point, fit, text) of the other concepts' probes, in the concept's order.
        known: as in `ProbeAucs`.
    """

    own: Floats
    others: Floats
    known: Floats

    def read(self, concept: ErasedConcept) -> ProbeAucs:
        """Return each text's shares of the AUCs; the concept's labels are of the same texts."""
        others = [
            _shares(scores, each.test)
            for scores, each in zip(self.others, concept.others.values(), strict=True)
        ]
        return ProbeAucs(_shares(self.own, concept.own.test), np.mean(others, axis=0), self.known)


@dataclass(frozen=True)
class ProbedLabel:
    """One label on some of a task's texts.

    Args:
        train: (text,) 1 positive, 0 negative, -1 left out, of the training texts.
        test: the same of the test texts.
    """

    train: NDArray[np.int8]
    test: NDArray[np.int8]


@dataclass(frozen=True)
class ErasedConcept:
    """What is to be erased, and what is not.

    Args:
        name: for people.
        own: the label to be erased.
        others: what must stay, by index of the probe that reads it; at least one, on texts or in
            a label that has no part in `own`.
    """

    name: str
    own: ProbedLabel
    others: Mapping[int, ProbedLabel]


@dataclass(frozen=True)
class TaskTexts:
    """A task's texts and the probes that are in use on it.

    Args:
        name: of the task.
        concepts: from `two_labels` or `pairs`.
        cells_train: (text,) quadrant or class; all of them count the same.
        cells_test: the same of the test texts.
        x_train: (text, d) pooled activations, at the site that is written.
        x_test: the same of the test texts.
        probes: (fit, probe, d) weights of the probes fitted on resampled training texts.
        counts: (fit, text) how often each training text was drawn for each fit.
    """

    name: str
    concepts: tuple[ErasedConcept, ...]
    cells_train: NDArray[np.int64]
    cells_test: NDArray[np.int64]
    x_train: NDArray[np.floating]
    x_test: NDArray[np.floating]
    probes: NDArray[np.floating]
    counts: NDArray[np.floating]

    def read(self, concept: ErasedConcept, changes: Iterable[Pair]) -> ProbeAucs:
        """Refit the concept's probe after each change, and read it and the others.

        Args:
            concept: one of the task's.
            changes: what became of the training and of the test texts, (text, d) each; tensors
                are read on their device.
        """
        return self.scores(concept, changes).read(concept)

    def scores(self, concept: ErasedConcept, changes: Iterable[Pair]) -> ProbeScores:
        """Return what the probes say of every test text after each change; args as of `read`."""
        points = [self._scores(concept, _wide(train), _wide(test)) for train, test in changes]
        own, others, known = (np.stack(part) for part in zip(*points, strict=True))
        return ProbeScores(own, np.swapaxes(others, 0, 1), known)

    @property
    def key(self) -> Floats:
        """(text,) what orders the test texts wherever they stand: a probe's logits."""
        result: Floats = self.x_test.astype(np.float64) @ self.probes[0, 0].astype(np.float64)
        return result

    def direction(self, concept: ErasedConcept) -> Floats:
        """Return the concept's probe on all of the untouched training texts, (d,)."""
        refits = Refits(self.x_train, equal_cells(self.cells_train)[None])
        result: Floats = refits.directions(self.x_train, concept.own.train)[0]
        return result

    def of_fit(self, fit: int) -> TaskTexts:
        """Return the task with the probes and the resample of one fit alone."""
        one = slice(fit, fit + 1)
        return replace(self, probes=self.probes[one], counts=self.counts[one])

    def directions(self, concept: ErasedConcept) -> Floats:
        """Return the concept's probe on the untouched training texts of every fit, (fit, d)."""
        return self._refits.directions(self.x_train, concept.own.train)

    def _scores(
        self, concept: ErasedConcept, train: Tensor, test: Tensor
    ) -> tuple[Floats, Floats, Floats]:
        own = self._refits.fitted(train, concept.own.train)
        kept = _wide(self.probes[:, list(concept.others)]).to(own.device).transpose(0, 1)
        probes = torch.cat([own[None], kept])
        seen, new = ((probes @ each.T).cpu().numpy() for each in (train, test))
        labels = [each.train for each in concept.others.values()]
        known = [
            (
                _auc(seen[0, fit], concept.own.train, unseen),
                sum(_auc(w[fit], each, unseen) for w, each in zip(seen[1:], labels, strict=True))
                / len(labels),
            )
            for fit, unseen in enumerate(self.counts == 0)
        ]
        return new[0], new[1:], np.mean(known, axis=0)

    @cached_property
    def _refits(self) -> Refits:
        return Refits(self.x_train, self.counts * equal_cells(self.cells_train))


def _wide(texts: Texts) -> Tensor:
    if isinstance(texts, Tensor):
        return texts.double()
    return torch.from_numpy(np.array(texts, np.float64))


def _shares(scores: Floats, labels: NDArray[np.int8]) -> Floats:
    """(..., text): what each text adds to the AUC, 0 if it is left out."""
    used = labels >= 0
    shares: Floats = np.zeros(scores.shape)
    shares[..., used] = contributions(scores[..., used], labels[used] > 0)
    return shares


def _auc(scores: Floats, labels: NDArray[np.int8], among: Bools) -> float:
    used = among & (labels >= 0)
    return float(contributions(scores[used], labels[used] > 0).sum())


def two_labels(names: Sequence[str], train: Bools, test: Bools) -> tuple[ErasedConcept, ...]:
    """Return two labels that vary independently, each to be erased without the other.

    Args:
        names: two; the probe of each has its index.
        train: (label, text) of the training texts.
        test: (label, text) of the test texts.

    Returns:
        Two concepts, each the other's only neighbour.

    >>> labels = np.array([[True, True, False, False], [True, False, True, False]])
    >>> job, gender = two_labels(("job", "gender"), labels, labels)
    >>> job.name, job.own.train.tolist(), list(job.others)
    ('job', [1, 1, 0, 0], [1])
    """
    contrasts = [
        ProbedLabel(one.astype(np.int8), two.astype(np.int8))
        for one, two in zip(train, test, strict=True)
    ]
    return tuple(
        ErasedConcept(name, contrasts[place], {1 - place: contrasts[1 - place]})
        for place, name in enumerate(names)
    )


def pairs(
    classes: Sequence[str], train: NDArray[np.int64], test: NDArray[np.int64]
) -> tuple[ErasedConcept, ...]:
    """Return what tells each class from the next, to be erased without what tells the others apart.

    Not a class against the rest: where classes exclude each other, a class whose own latents are
    gone is still told by the absence of all others, and no dictionary of one latent per class could
    erase it. Own probes are read on the texts of the two classes, those of the other classes on
    each other's texts.

    Args:
        classes: at least four; the probe of each has its index.
        train: (text,) class of each training text.
        test: (text,) class of each test text.

    Returns:
        As many concepts as classes.

    >>> first, *_ = pairs("abcd", np.arange(4), np.arange(4))
    >>> first.name, first.own.train.tolist(), first.others[2].train.tolist()
    ('a or b', [1, 0, -1, -1], [-1, -1, 1, 0])
    """
    count = len(classes)
    found = []
    for one in range(count):
        two = (one + 1) % count
        rest = [c for c in range(count) if c not in (one, two)]
        own = ProbedLabel(_coded(train, [one], [two]), _coded(test, [one], [two]))
        others = {}
        for c in rest:
            against = [each for each in rest if each != c]
            others[c] = ProbedLabel(_coded(train, [c], against), _coded(test, [c], against))
        found.append(ErasedConcept(f"{classes[one]} or {classes[two]}", own, others))
    return tuple(found)


def _coded(
    labels: NDArray[np.int64], positive: Sequence[int], negative: Sequence[int]
) -> NDArray[np.int8]:
    return np.select([np.isin(labels, positive), np.isin(labels, negative)], [1, 0], -1).astype(
        np.int8
    )
