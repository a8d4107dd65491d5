"""Automatic interpretability: what one explanation scores on contexts it was not written from.

    balanced_accuracy(truth, said) -> float in [0, 1] | None     # detection, fuzzing
    auc(truth, scores) -> float in [0, 1] | None                 # surprisal, embedding

Paulo et al. 2024 (arXiv 2410.13928). Both are 0.5 for an answer that does not depend on the
context, whatever the share of active contexts: the published share of correct labels gives a
judge that always says "none of them" 10 of 14 (SAEBench 0.6).

Drawing latents is in `autointerp_sample`, estimates over latents in `autointerp_estimates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_sae.metrics.auc import rank_auc
from pytest_sae.numbers.bootstrap import Floats


@dataclass(frozen=True)
class Score:
    """What the explanation of one latent scores by one scorer, and the floors beside it.

    Args:
        latent: its index.
        stratum: density stratum that it was drawn from.
        value: in [0, 1], higher is better.
        constant: what an answer that does not depend on the context scores on the same contexts.
        contexts: how many contexts (or prompts) it was scored on.
        shuffled: what the explanation of another latent scores on them; None where not asked.
    """

    latent: int
    stratum: int
    value: float
    constant: float
    contexts: int
    shuffled: float | None = None


def balanced_accuracy(truth: Sequence[bool], said: Sequence[bool | None]) -> float | None:
    """Return `(share of active contexts told + share of the others told) / 2`, higher is better.

    Args:
        truth: (context,) whether the explanation should match.
        said: (context,) whether the judge says so; None, an unanswered context, counts as wrong.

    Returns:
        in [0, 1], 0.5 for any constant answer; None unless there are contexts of both kinds.

    Source: the detection and fuzzing of Paulo et al. 2024 (arXiv 2410.13928).

    >>> truth = [True, True, False, False]
    >>> balanced_accuracy(truth, [True, None, False, False]), balanced_accuracy(truth, [False] * 4)
    (0.75, 0.5)
    """
    hits: dict[bool, list[bool]] = {True: [], False: []}
    for is_match, answer in zip(truth, said, strict=True):
        hits[is_match].append(answer is not None and answer == is_match)
    if not all(hits.values()):
        return None
    return sum(sum(each) / len(each) for each in hits.values()) / 2


def constant_accuracy(truth: Sequence[bool]) -> float | None:
    """Return the mean balanced accuracy of "all of them" and "none of them"; None as above.

    >>> constant_accuracy([True, False, False]), constant_accuracy([True])
    (0.5, None)
    """
    found = [balanced_accuracy(truth, [answer] * len(truth)) for answer in (True, False)]
    return None if found[0] is None or found[1] is None else (found[0] + found[1]) / 2


def auc(truth: Sequence[bool], scores: Floats) -> float | None:
    """Return the chance that an active context scores above another one, a tie being half.

    Args:
        truth: (context,) whether the latent fires.
        scores: (context,) higher where the explanation fits better.

    Returns:
        in [0, 1], 0.5 for any constant score; None unless there are contexts of both kinds.

    >>> auc([True, True, False], np.array([0.9, 0.1, 0.5]))
    0.5
    """
    found = rank_auc(scores, np.asarray(truth, bool))
    return None if np.isnan(found) else found
