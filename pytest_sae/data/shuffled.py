"""Tasks whose labels are shuffled among their texts: whatever is measured on them is chance."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pytest_sae.data.tasks import ClassTask, ClassTexts, SpuriousTask, SpuriousTexts, Tasks
from pytest_sae.numbers.bootstrap import generator


def shuffled(tasks: Tasks, seed: int) -> Tasks:
    """Return the same texts with their labels shuffled within each split of each task.

    The two labels of an SCR text move together, so that cells and classes keep their sizes.

    Args:
        tasks: of the run.
        seed: of the shuffling.
    """
    return replace(
        tasks,
        scr=tuple(_scr(task, seed) for task in tasks.scr),
        tpp=tuple(_tpp(task, seed) for task in tasks.tpp),
        fingerprint=_marked(tasks.fingerprint, seed),
    )


def _scr(task: SpuriousTask, seed: int) -> SpuriousTask:
    def split(texts: SpuriousTexts, name: str) -> SpuriousTexts:
        order = _order(task.name, name, texts.texts, seed)
        return SpuriousTexts(
            texts.texts,
            tuple(texts.intended[place] for place in order),
            tuple(texts.spurious[place] for place in order),
        )

    return replace(
        task,
        train=split(task.train, "train"),
        test=split(task.test, "test"),
        fingerprint=_marked(task.fingerprint, seed),
    )


def _tpp(task: ClassTask, seed: int) -> ClassTask:
    def split(texts: ClassTexts, name: str) -> ClassTexts:
        order = _order(task.name, name, texts.texts, seed)
        return ClassTexts(texts.texts, tuple(texts.labels[place] for place in order))

    return replace(
        task,
        train=split(task.train, "train"),
        test=split(task.test, "test"),
        fingerprint=_marked(task.fingerprint, seed),
    )


def _order(task: str, split: str, texts: Sequence[str], seed: int) -> NDArray[np.int64]:
    return generator(seed, "shuffled labels", task, split).permutation(len(texts))


def _marked(fingerprint: str, seed: int) -> str:
    return hashlib.sha256(f"shuffled labels {seed} {fingerprint}".encode()).hexdigest()
