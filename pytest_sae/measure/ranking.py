"""Scoring an explanation by how it ranks contexts: shared by surprisal and embedding.

ranked(subject, fit) -> Score | None
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pytest_sae.measure.explained_latents import ExplainedLatent
from pytest_sae.metrics.autointerp import Score, auc
from pytest_sae.numbers.bootstrap import Floats

Fit = Callable[[str], Floats]  # an explanation to (context,), higher where it fits better


def ranked(subject: ExplainedLatent, fit: Fit) -> Score | None:
    """Return the AUC of activating against silent contexts; None unless there are both.

    Without an explanation it is 0, as if every pair of contexts were told wrong.

    Args:
        subject: an explained latent.
        fit: how well an explanation fits each of its contexts.
    """
    truth = subject.truth
    chance = auc(truth, np.zeros(len(truth)))
    if chance is None:
        return None
    own = None if subject.explanation is None else auc(truth, fit(subject.explanation))
    other = None if subject.borrowed is None else auc(truth, fit(subject.borrowed))
    return Score(subject.latent, subject.stratum, own or 0.0, chance, len(truth), other)
