"""Embedding: does the embedding of an explanation retrieve the contexts that activate the latent?

    score(subjects, embedder) -> list[Score]

AUC of the cosine between explanation and context, activating contexts against silent ones (Paulo
et al. 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pytest_sae.errors import ModelError
from pytest_sae.measure.explained_latents import ExplainedLatent
from pytest_sae.measure.ranking import Fit, ranked
from pytest_sae.metrics.autointerp import Score
from pytest_sae.numbers.bootstrap import Floats

Embed = Callable[[Sequence[str]], Floats]  # texts to (text, d)


def score(subjects: Sequence[ExplainedLatent], embed: Embed) -> list[Score]:
    """Return one score for each latent, every distinct text embedded once; higher is better.

    A latent without an explanation scores 0.

    Args:
        subjects: explained latents.
        embed: a model of `models.embedder`, or embeddings of a provider.

    Raises:
        ModelError: the embeddings are not one finite vector for each text.
    """
    texts = sorted({text for each in subjects for text in _texts(each)})
    directions = _directions(texts, embed)
    return [made for each in subjects if (made := ranked(each, _fit(each, directions)))]


def _texts(subject: ExplainedLatent) -> list[str]:
    said = (subject.explanation, subject.borrowed, *(each.text for each in subject.contexts))
    return [text for text in said if text is not None]


def _directions(texts: list[str], embed: Embed) -> dict[str, Floats]:
    vectors = np.asarray(embed(texts), np.float64)
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise ModelError(
            f"the embedder gave an array of shape {vectors.shape} for {len(texts)} texts; expected "
            "one finite vector for each: pick another embedder"
        )
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return dict(zip(texts, vectors / np.where(norms > 0, norms, 1.0), strict=True))


def _fit(subject: ExplainedLatent, directions: dict[str, Floats]) -> Fit:
    contexts = np.stack([directions[context.text] for context in subject.contexts])
    return lambda explanation: contexts @ directions[explanation]
