"""Surprisal: does an explanation make activating contexts less surprising to a language model?

    score(subjects, scorer) -> list[Score]

For each context the mean loss of its tokens after a neutral sentence minus that after the
explanation, in nats per token; the score is the AUC of this drop, activating contexts against
silent ones (Paulo et al. 2024). The drop and not the loss: texts differ in how surprising they are
far more than explanations change it. What stands before the context is the explanation and a line
break, without instructions: a base model reads a heading so, and nothing has to be tuned.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_sae.measure.explained_latents import ExplainedLatent
from pytest_sae.measure.ranking import Fit, ranked
from pytest_sae.metrics.autointerp import Score
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.scorer import Pair, losses

NEUTRAL = "Sentences about one thing and another."


def score(subjects: Sequence[ExplainedLatent], scorer: LanguageModel) -> list[Score]:
    """Return one score for each latent, all losses computed together; higher is better.

    A latent without an explanation scores 0.

    Args:
        subjects: explained latents.
        scorer: a causal language model; it need not be the one under the dictionary.

    Raises:
        ModelError: an explanation and a context are longer than the scorer's context.
    """
    pairs = [pair for each in subjects for pair in _pairs(each)]
    found = dict(zip(pairs, losses(scorer, pairs), strict=True))
    return [made for each in subjects if (made := ranked(each, _fit(each, found)))]


def _pairs(subject: ExplainedLatent) -> list[Pair]:
    prefixes = [NEUTRAL, subject.explanation, subject.borrowed]
    texts = [context.text for context in subject.contexts]
    return [(_prefix(each), text) for each in prefixes if each is not None for text in texts]


def _prefix(sentence: str) -> str:
    return f"{sentence}\n"


def _fit(subject: ExplainedLatent, found: dict[Pair, float]) -> Fit:
    texts = [context.text for context in subject.contexts]
    return lambda explanation: np.array(
        [found[_prefix(NEUTRAL), text] - found[_prefix(explanation), text] for text in texts]
    )
