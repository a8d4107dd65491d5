"""Judges that know what latents are about, up to a stated share of errors.

    true_ratings(z, fires) -> Ratings              # (latent, concept), off the strongest tokens
    answered(ratings, axis, share, rng) -> Ratings     # what a judge with errors says; -1: nothing
    opinions(ratings, names) -> {latent: Opinion}
    calibrated(axis, share, rng) -> Estimate       # its `judge_calibration.rate`
    kappa(one, other) -> float                     # agreement of two judges beyond chance

Concepts stand in pairs: an intended one and the spurious one of the same task, which is what is
most easily mistaken for it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pytest_sae.judge.calibration.latent_rules import CONCEPTS, RULES
from pytest_sae.judge.prompts.rate import HIGHEST, Rating
from pytest_sae.metrics import judge_calibration
from pytest_sae.metrics.judge_calibration import RatingAnswers
from pytest_sae.metrics.shift_selection import Opinion
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.numbers.estimate import Estimate

Ratings = NDArray[np.int64]
#: `flips`: a rating r of one concept becomes 4 - r. `abstains`: no answer about a latent.
#: `confuses`: a latent's ratings of the two concepts of every pair are exchanged.
Axis = Literal["flips", "abstains", "confuses"]
AXES: tuple[Axis, ...] = get_args(Axis)
SILENT = -1

SHOWN = 20  # strongest tokens that a latent is read from
#: From which share of them a concept is rated 1, 2, 3, 4: a few, some, about half, most.
_LEVELS = (0.08, 0.2, 0.4, 0.7)


def true_ratings(z: Floats, fires: NDArray[np.bool_]) -> Ratings:
    """Rate latents as the prompt asks for, knowing which concepts fire where.

    Args:
        z: (token, latent) activations.
        fires: (token, concept) whether any feature of a concept fires.

    Returns:
        (latent, concept), 0 to 4: by the share of the latent's strongest tokens on which the
        concept fires, beyond the share of all tokens; 0 for latents that never fire.
    """
    strongest = np.argsort(-z, axis=0, kind="stable")[:SHOWN]
    active = np.take_along_axis(z, strongest, 0) > 0
    hits: Ratings = (fires[strongest] & active[..., None]).sum(0)
    seen = np.where(active.any(0), active.sum(0), 1)
    hit = hits / seen[:, None]
    base = fires.mean(0)
    result: Ratings = np.searchsorted(_LEVELS, (hit - base) / (1 - base), side="right")
    return result


def answered(ratings: Ratings, axis: Axis, share: float, rng: np.random.Generator) -> Ratings:
    """Return what a judge says who errs in this way, this often.

    Args:
        ratings: (latent, concept) what is true; concepts 2 i and 2 i + 1 are a pair.
        axis: how it errs.
        share: how often: of (latent, concept) for flips, else of latents.
        rng: who is hit.
    """
    latents, concepts = ratings.shape
    if axis == "flips":
        return np.where(rng.random(ratings.shape) < share, HIGHEST - ratings, ratings)
    hit = rng.random((latents, 1)) < share
    swapped = ratings[:, np.arange(concepts) ^ 1]
    return np.where(hit, SILENT if axis == "abstains" else swapped, ratings)


def opinions(ratings: Ratings, names: Sequence[str]) -> dict[int, Opinion]:
    """Return ratings as SHIFT takes them.

    Args:
        ratings: (latent, concept).
        names: of the concepts.
    """
    return {
        latent: Opinion(None if row[0] == SILENT else dict(zip(names, row, strict=True)))
        for latent, row in enumerate(ratings.tolist())
    }


def calibrated(axis: Axis, share: float, rng: np.random.Generator) -> Estimate:
    """Return `judge_calibration.rate` of such a judge, asked about the calibration's latents."""
    rated = [rule for rule in RULES if rule.rated]
    names = [each.name for each in CONCEPTS]
    truth = np.array([[HIGHEST * (rule.concept == name) for name in names] for rule in rated])
    said = answered(truth, axis, share, rng)
    answers = {}
    for rule, row in zip(rated, said.tolist(), strict=True):
        rating = None if row[0] == SILENT else Rating(dict(zip(names, row, strict=True)), "")
        accepted = None if rating is None else rating.accepted
        answers[rule.name] = RatingAnswers(rule.concept, accepted, rating is None)
    return judge_calibration.rate(answers, 0)


def kappa(one: Sequence[object], other: Sequence[object]) -> float:
    """Return Cohen's kappa of two lists of verdicts: 1 for the same ones, 0 for chance.

    NaN where both always say the same one thing.

    >>> kappa(["a", "a", "b", "b"], ["a", "b", "b", "b"])
    0.5
    """
    same = np.mean([a == b for a, b in zip(one, other, strict=True)])
    chance = sum(one.count(each) * other.count(each) for each in {*one, *other}) / len(one) ** 2
    return float((same - chance) / (1 - chance)) if chance < 1 else float("nan")
