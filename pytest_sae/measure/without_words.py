"""Texts without the words that a task names for its concepts: a reference of the frontier.

MeansWithoutWords.of(latents, tasks) .pairs(task) -> per concept, (train, test) means or None
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_sae.activations import pooled as pooling
from pytest_sae.activations.latents import Latents
from pytest_sae.data.tasks import Contrast, SpuriousTask, Tasks
from pytest_sae.data.words import delete
from pytest_sae.metrics.frontier_texts import Pair


@dataclass(frozen=True)
class MeansWithoutWords:
    """Mean activations of every text that deletion leaves; no dictionary has a part in them.

    Args:
        means: (d,) by text; empty where no concept names words, or nothing can read the texts.
    """

    means: Mapping[str, NDArray[np.float32]]

    @classmethod
    def of(cls, latents: Latents, tasks: Tasks) -> MeansWithoutWords:
        """Read what is left of the texts of every SCR concept that names words."""
        left = (
            text
            for task in tasks.scr
            for contrast in (task.intended, task.spurious)
            if contrast.words
            for split in (task.train, task.test)
            for text in _without(split.texts, contrast)
        )
        texts = tuple(dict.fromkeys(left))
        if not texts or not latents.can_read(texts):
            return cls({})
        stream = latents.shown("reading texts without words", latents.written(texts))
        means = pooling.pool(stream, None, len(texts), latents.store.work).x
        return cls(dict(zip(texts, means, strict=True)))

    def pairs(self, task: SpuriousTask) -> list[Pair | None]:
        """Return the task's training and test texts without each concept's words."""
        return [self._pair(task, contrast) for contrast in (task.intended, task.spurious)]

    def _pair(self, task: SpuriousTask, contrast: Contrast) -> Pair | None:
        if not contrast.words or not self.means:
            return None
        train, test = (
            np.stack([self.means[text] for text in _without(split.texts, contrast)])
            for split in (task.train, task.test)
        )
        return train.astype(np.float64), test.astype(np.float64)


def _without(texts: Sequence[str], contrast: Contrast) -> list[str]:
    """Delete the words; a text of nothing else stays as it is."""
    gone = frozenset(contrast.words)
    left = [delete(text, gone) for text in texts]
    return [new if new.strip() else old for new, old in zip(left, texts, strict=True)]
