"""SHIFT of one dictionary: its candidates read by a judge, the accepted ones ablated.

measure(given) -> list[Estimate]
NAMES          # (metric, params) of all of them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_sae.activations import pooled as pooling
from pytest_sae.activations.contexts import LatentEvidence
from pytest_sae.activations.evidence import EvidenceSizes
from pytest_sae.activations.latents import Latents
from pytest_sae.data.tasks import Contrast, SpuriousTask, Tasks
from pytest_sae.data.words import delete, words_of
from pytest_sae.errors import DataError
from pytest_sae.judge.base import Answer, Judge
from pytest_sae.judge.marking import numbered
from pytest_sae.judge.prompts import rate
from pytest_sae.measure import scr_and_tpp
from pytest_sae.measure.given import Given
from pytest_sae.measure.logit_lens import top_tokens
from pytest_sae.metrics import shift_estimates, word_association
from pytest_sae.metrics.scr import Concept
from pytest_sae.metrics.shift import TaskData, WordDeletion, score_task
from pytest_sae.metrics.shift_estimates import NAMES
from pytest_sae.metrics.shift_selection import Candidates, Opinion, candidates
from pytest_sae.models.absent import NO_MODEL, AbsentModel
from pytest_sae.numbers.estimate import Estimate

__all__ = ["NAMES", "measure"]

#: Only the strongest contexts are shown.
SIZES = EvidenceSizes(samples=0, scored=0, random=0, hard=0)


def measure(given: Given) -> list[Estimate]:
    """Return the estimates of `NAMES` over the tasks' [[scr]] tables.

    The judge is asked once about each latent that is a candidate of any task, and rates it for the
    concepts of all tasks.

    Args:
        given: to measure from.

    Raises:
        DataError: there are no unlabelled texts to show the latents on.
        JudgeError: the judge cannot be asked.
    """
    latents, tasks, judge = given.latents, given.tasks, given.asked()
    seed, fits = given.seed, given.counts["fits"]
    corpus = _corpus(tasks)
    read = [_TaskRead.of(latents, tasks, task, seed, fits) for task in tasks.scr]
    asked = np.unique(np.concatenate([each.candidates.latents for each in read]))
    opinions = _opinions(latents, corpus, asked, _concepts(tasks), judge, seed)
    gone = deletions(tasks)
    means = means_of_deleted(latents, tasks, gone)
    scored = [
        score_task(
            each.data,
            each.candidates,
            opinions,
            _about(each.task),
            deletion.read(each.task, means) if means else None,
            seed,
        )
        for each, deletion in zip(read, gone, strict=True)
    ]
    told = {"name": judge.name, "kind": judge.kind}
    return shift_estimates.estimates(scored, told, seed, _left_out(latents, bool(means)))


def _left_out(latents: Latents, words: bool) -> dict[str, str]:
    """What a run without a model cannot do: say what latents promote, read texts without words."""
    if not isinstance(latents.model, AbsentModel):
        return {}
    gone = ("promoted tokens",) if words else ("promoted tokens", "words")
    return dict.fromkeys(gone, NO_MODEL)


def texts_without_words(tasks: Tasks) -> tuple[str, ...]:
    """Return every text that deletion makes of the SCR tasks' texts; those it leaves are theirs."""
    return _left(tasks, deletions(tasks))


def _corpus(tasks: Tasks) -> list[str]:
    """The texts on which latents are shown: none on which they are scored."""
    unusable = tasks.unusable("corpus")
    if unusable:
        raise DataError(unusable)
    tested = {text for task in tasks.scr for text in task.test.texts}
    texts = [text for text in tasks.corpus.texts if text not in tested] if tasks.corpus else []
    if not texts:
        raise DataError(
            f"{tasks.source} has no [corpus] texts apart from the test texts. Expected unlabelled "
            "texts to show a judge what latents fire on: name a file of them there, or leave "
            "test_shift.py out with -k."
        )
    return texts


@dataclass(frozen=True)
class _TaskRead:
    """A task as the dictionary reads it, and its candidates."""

    task: SpuriousTask
    data: TaskData
    candidates: Candidates

    @classmethod
    def of(
        cls, latents: Latents, tasks: Tasks, task: SpuriousTask, seed: int, fits: int
    ) -> _TaskRead:
        texts = scr_and_tpp.erasure_texts(tasks)
        view = scr_and_tpp.PooledTask.of(latents, texts, task.train.texts, task.test.texts)
        probes = scr_and_tpp.scr_probes(latents, view, task, seed, fits)
        train = scr_and_tpp.quadrants(task.train)
        data = TaskData(
            task.name,
            probes,
            train,
            scr_and_tpp.quadrants(task.test),
            view.x_train,
            view.x_test,
            view.removal_train,
            view.removal,
        )
        return cls(task, data, candidates(probes, train, view.z_train, view.rows))


def _about(task: SpuriousTask) -> dict[Concept, str]:
    return {"intended": task.intended.name, "spurious": task.spurious.name}


def _concepts(tasks: Tasks) -> list[rate.Concept]:
    """The distinct concepts of all tasks, by name."""
    contrasts: dict[str, Contrast] = {
        each.name: each for task in tasks.scr for each in (task.intended, task.spurious)
    }
    return [
        rate.Concept.of(each.column, each.positive, each.negative)
        for _, each in sorted(contrasts.items())
    ]


def _opinions(
    latents: Latents,
    corpus: Sequence[str],
    asked: NDArray[np.int64],
    concepts: Sequence[rate.Concept],
    judge: Judge,
    seed: int,
) -> dict[int, Opinion]:
    evidence = latents.evidence(corpus, asked, SIZES, seed)
    tokens = top_tokens(latents, asked.tolist())
    requests = [
        rate.request(concepts, shown.top, raised)
        for shown, raised in zip(evidence, tokens, strict=True)
    ]
    answers = judge.ask(requests)
    return {
        shown.latent: _opinion(answer, concepts, shown)
        for shown, answer in zip(evidence, answers, strict=True)
    }


def _opinion(answer: Answer, concepts: Sequence[rate.Concept], shown: LatentEvidence) -> Opinion:
    peak = max((context.peak for context in shown.top), default=0.0)
    contexts = tuple(numbered(context, peak) for context in shown.top)
    rating = rate.read(answer, concepts)
    if rating is None:
        return Opinion(None, answer.problem, contexts)
    return Opinion(rating.ratings, rating.reason, contexts)


@dataclass(frozen=True)
class TextsWithoutWords:
    """What is left of a task's texts without the spurious concept's words.

    Args:
        words: that are deleted.
        left: what is left, by text.
        kept: texts that hold nothing else and stay as they are.
    """

    words: tuple[str, ...]
    left: Mapping[str, str]
    kept: int

    @classmethod
    def of(cls, task: SpuriousTask) -> TextsWithoutWords:
        """Delete the words that the task names, or those that tell the concept's values apart."""
        chosen = task.spurious.words or _chosen(task)
        gone = frozenset(chosen)
        texts = (*task.train.texts, *task.test.texts)
        left = {text: delete(text, gone) for text in texts}
        empty = [text for text in texts if not left[text].strip()]
        return cls(chosen, left | {text: text for text in empty}, len(empty))

    def read(self, task: SpuriousTask, means: Mapping[str, NDArray[np.float32]]) -> WordDeletion:
        """Return the task's two splits as the model reads what is left, from `means_of_deleted`."""
        train, test = (
            np.stack([means[self.left[text]] for text in split.texts])
            for split in (task.train, task.test)
        )
        return WordDeletion(self.words, train, test, self.kept)


def _chosen(task: SpuriousTask) -> tuple[str, ...]:
    said = [words_of(text) for text in task.train.texts]
    return word_association.choose(
        said, np.array(task.train.intended), np.array(task.train.spurious)
    )


def deletions(tasks: Tasks) -> list[TextsWithoutWords]:
    """Return what is left of each SCR task's texts without its spurious concept's words."""
    return [TextsWithoutWords.of(task) for task in tasks.scr]


def _left(tasks: Tasks, deletions: Sequence[TextsWithoutWords]) -> tuple[str, ...]:
    known = set(scr_and_tpp.erasure_texts(tasks))
    left = dict.fromkeys(text for each in deletions for text in each.left.values())
    return tuple(text for text in left if text not in known)


def means_of_deleted(
    latents: Latents, tasks: Tasks, deletions: Sequence[TextsWithoutWords]
) -> dict[str, NDArray[np.float32]]:
    """Mean activation of every text, whole or after deletion; no dictionary has a part in it.

    Args:
        latents: of any dictionary of the model.
        tasks: whose texts were read.
        deletions: what the words of each concept leave of the texts.

    Returns:
        By text, (d,) float32; empty where there is no model to read what deletion leaves.
    """
    known, texts = scr_and_tpp.erasure_texts(tasks), _left(tasks, deletions)
    if not latents.can_read(texts):
        return {}
    means = dict(zip(known, latents.pooled(known).x, strict=True))
    if texts:
        stream = latents.shown("reading texts without words", latents.written(texts))
        found = pooling.pool(stream, None, len(texts), latents.store.work).x
        means |= dict(zip(texts, found, strict=True))
    return means
