"""Detection and fuzzing: does an explanation tell in which contexts, and on which tokens?

    detected(subjects, judge, seed) -> DetectionResult

Both scorers of Paulo et al. 2024 (arXiv 2410.13928), as questions of at most 40 contexts:

- *Detection*: the contexts for scoring, those that activate the latent and those that don't.
- *Fuzzing*: activating contexts with their right tokens marked, against as many with wrong ones:
  half of these are activating contexts again, with as many of their silent tokens marked, half are
  silent contexts with as many random tokens marked. No text stands in one question twice, or two
  versions of it could be told apart without the explanation.

Everything is ordered by hash, so that neither the place of a context nor that of its neighbours
says anything about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from pytest_sae.activations.contexts import Context
from pytest_sae.judge.base import Judge
from pytest_sae.judge.prompts import detect as prompts
from pytest_sae.judge.request import Request
from pytest_sae.measure.explained_latents import ExplainedLatent
from pytest_sae.metrics.autointerp import Score, balanced_accuracy, constant_accuracy
from pytest_sae.metrics.autointerp_sample import priority

MOST = 40  # contexts of a question
MARKED = 0.3  # of a context's peak, from which on a token is a right one

Kind = Literal["detection", "fuzzing"]


@dataclass(frozen=True)
class AskedContext:
    """A context in a question.

    Args:
        context: the window.
        match: whether the explanation of the latent should fit it.
        marks: (token,) which tokens are shown as marked; empty for detection.
    """

    context: Context
    match: bool
    marks: tuple[bool, ...] = ()


Page = list[AskedContext]


@dataclass(frozen=True)
class DetectionResult:
    """What the judge made of the explanations.

    Args:
        scores: by kind, one for each latent whose contexts are of both kinds.
        unanswered: latents with a question about their own explanation left unanswered.
    """

    scores: dict[Kind, list[Score]]
    unanswered: frozenset[int]


@dataclass(frozen=True)
class _Asked:
    """What was said of the contexts of one kind by one explanation of one latent."""

    pages: list[Page]
    said: list[list[bool] | None]

    @property
    def truth(self) -> list[bool]:
        return [item.match for page in self.pages for item in page]

    @property
    def answers(self) -> list[bool | None]:
        answers: list[bool | None] = []
        for page, said in zip(self.pages, self.said, strict=True):
            answers += [None] * len(page) if said is None else said
        return answers


def detected(subjects: Sequence[ExplainedLatent], judge: Judge, seed: int) -> DetectionResult:
    """Score every explanation, and the borrowed ones for the floor; all is asked at once.

    Args:
        subjects: explained latents.
        judge: reads the explanations.
        seed: of the order of contexts and of the wrong marks.

    Returns:
        A score for each latent whose contexts are of both kinds, and the latents left unanswered.
    """
    pages = {(each.latent, kind): _PAGES[kind](each, seed) for each in subjects for kind in _PAGES}
    wanted = [
        (each.latent, kind, whose, page, text)
        for each in subjects
        for kind in _PAGES
        for whose, text in (("own", each.explanation), ("borrowed", each.borrowed))
        if text is not None
        for page in pages[each.latent, kind]
    ]
    answers = judge.ask([_request(kind, text, page) for _, kind, _, page, text in wanted])
    said: dict[tuple[int, Kind, str], list[list[bool] | None]] = {}
    for (latent, kind, whose, page, _), answer in zip(wanted, answers, strict=True):
        said.setdefault((latent, kind, whose), []).append(prompts.read(answer, len(page)))
    return DetectionResult(
        {
            kind: [
                score
                for each in subjects
                if (score := _score(each, kind, pages[each.latent, kind], said)) is not None
            ]
            for kind in _PAGES
        },
        frozenset(key[0] for key, given in said.items() if key[2] == "own" and None in given),
    )


def _score(
    subject: ExplainedLatent,
    kind: Kind,
    pages: list[Page],
    said: dict[tuple[int, Kind, str], list[list[bool] | None]],
) -> Score | None:
    nothing: list[list[bool] | None] = [None] * len(pages)
    own = _Asked(pages, said.get((subject.latent, kind, "own"), nothing))
    value, constant = balanced_accuracy(own.truth, own.answers), constant_accuracy(own.truth)
    if value is None or constant is None:
        return None
    other = said.get((subject.latent, kind, "borrowed"))
    shuffled = None if other is None else balanced_accuracy(own.truth, _Asked(pages, other).answers)
    return Score(subject.latent, subject.stratum, value, constant, len(own.truth), shuffled)


def _request(kind: Kind, explanation: str, page: Page) -> Request:
    contexts = [item.context for item in page]
    if kind == "detection":
        return prompts.detection(explanation, contexts)
    return prompts.fuzzing(explanation, contexts, [item.marks for item in page])


def detection_pages(subject: ExplainedLatent, seed: int) -> list[Page]:
    """Return the contexts for scoring in random order, a question of at most 40 each.

    Args:
        subject: with its contexts for scoring.
        seed: of their order.
    """
    items = [AskedContext(each, each.peak > 0) for each in subject.contexts]
    return list(_cut(_mixed(items, seed, "detection", subject.latent)))


def fuzzing_pages(subject: ExplainedLatent, seed: int) -> list[Page]:
    """Return contexts with right and with wrong marks, the two versions of one text apart.

    Args:
        subject: with its contexts for scoring.
        seed: of the wrong marks and of the order.
    """
    latent, evidence = subject.latent, subject.evidence
    right = [
        AskedContext(context, True, marks)
        for context in _shuffled(evidence.scored, seed, "right", latent)
        if any(marks := right_marks(context))
    ]
    silent = iter(_shuffled((*evidence.random, *evidence.hard), seed, "silent", latent))
    halves: tuple[Page, Page] = ([], [])
    for place, item in enumerate(right):
        halves[place % 2].append(item)
        # Two of four, so that both halves have right and wrong marks of either kind.
        count, here = sum(item.marks), item.context if place % 4 < 2 else None
        wrong = _marking(here, count, seed, latent)
        wrong = wrong or _marking(next(silent, None), count, seed, latent)
        if wrong is not None:
            halves[1 - place % 2].append(wrong)
    return [page for half in halves for page in _cut(_mixed(half, seed, "fuzzing", latent)) if page]


def right_marks(context: Context) -> tuple[bool, ...]:
    """Return the visible tokens with at least 0.3 of the context's peak."""
    floor = MARKED * context.peak
    return tuple(
        bool(piece.strip()) and abs(value) >= floor > 0
        for piece, value in zip(context.pieces, context.activations, strict=True)
    )


def _marking(context: Context | None, count: int, seed: int, latent: int) -> AskedContext | None:
    """Mark as many silent tokens of a context; None without one, or if none is silent."""
    if context is None:
        return None
    places = [
        place
        for place, (piece, value) in enumerate(
            zip(context.pieces, context.activations, strict=True)
        )
        if piece.strip() and not value
    ]
    if not places:
        return None
    places.sort(key=lambda place: priority(seed, "mark", latent, context.text, place))
    chosen = set(places[:count])
    marks = tuple(place in chosen for place in range(len(context.pieces)))
    return AskedContext(context, False, marks)


def _shuffled(contexts: Sequence[Context], seed: int, what: str, latent: int) -> list[Context]:
    return sorted(contexts, key=lambda each: _order(each, seed, what, latent))


def _mixed(items: Sequence[AskedContext], seed: int, what: str, latent: int) -> Page:
    return sorted(items, key=lambda item: _order(item.context, seed, what, latent))


def _order(context: Context, seed: int, what: str, latent: int) -> tuple[bytes, tuple[float, ...]]:
    # By what it says and not by its place in the corpus, whose order is nothing.
    return priority(seed, what, latent, context.text), context.activations


def _cut(items: Page) -> Iterator[Page]:
    """Cut into as few questions as can be, all about as long."""
    pages = max(1, ceil(len(items) / MOST))
    size = ceil(len(items) / pages)
    for start in range(0, len(items), max(1, size)):
        yield items[start : start + size]


_PAGES: dict[Kind, Callable[[ExplainedLatent, int], list[Page]]] = {
    "detection": detection_pages,
    "fuzzing": fuzzing_pages,
}
