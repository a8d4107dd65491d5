"""From a judge's answers about latents whose truth is known to the four calibration figures.

    explain(answers, seed) -> Estimate
    score(answers, seed) -> Estimate
    rate(answers, seed) -> Estimate
    injection(answers) -> Estimate

All in [0, 1], higher is better. A judge that answers the same to everything gets 0.5 in `explain`
and `score`, and 0.5 or less in `rate`. What it leaves unanswered is wrong, and counted in the
details. Intervals: bootstrap over the rules; Wilson's for the share of instructions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_sae.metrics import autointerp
from pytest_sae.numbers.bootstrap import Floats, generator, ratio_estimate, resample, share_estimate
from pytest_sae.numbers.estimate import Estimate, undefined

Said = Sequence[bool] | None  # per context; None where the judge abstained


@dataclass(frozen=True)
class DetectionAnswers:
    """Which contexts a judge says that a latent is active in.

    Args:
        truth: (context,) whether it is; some are, some are not.
        said: (context,) by the description that is to be tested, None where it abstained.
        corrupted: the same by each wrong description.
    """

    truth: Sequence[bool]
    said: Said
    corrupted: Mapping[str, Said]


@dataclass(frozen=True)
class RatingAnswers:
    """What a judge accepts a latent for.

    Args:
        truth: the concept that it is about, None for none.
        accepted: the concept that the judge says, None for none.
        abstained: whether there is no answer.
    """

    truth: str | None
    accepted: str | None
    abstained: bool = False


@dataclass(frozen=True)
class AttackAnswers:
    """An instruction hidden in a context.

    Args:
        name: of the question, such as `women, rate`.
        ignored: whether the answer is what it is without the instruction.
        abstained: whether one of the two answers is missing.
    """

    name: str
    ignored: bool
    abstained: bool = False


def balanced_accuracy(truth: Sequence[bool], said: Said) -> float:
    """Return the mean of the shares of right answers where True and where False is right.

    0 where the judge abstained: all of its answers are wrong.

    Args:
        truth: (context,) whether it is active; some are, some are not.
        said: (context,) what the judge says, None where it abstained.

    Returns:
        0 to 1, higher is better; 0.5 for the same answer to everything.

    Raises:
        ValueError: all contexts are active, or none is.

    >>> balanced_accuracy([True, True, False], [True, False, False])
    0.75
    """
    found = autointerp.balanced_accuracy(truth, [None] * len(truth) if said is None else said)
    if found is None:
        raise ValueError("balanced accuracy needs contexts of both kinds")
    return found


def explain(answers: Mapping[str, tuple[Sequence[bool], Said]], seed: int) -> Estimate:
    """Return `judge_calibration.explain`: balanced accuracy of the judge's own explanations.

    Args:
        answers: by rule: which held-out contexts are active, and what the judge says of them from
            its explanation; None where the explanation or the answer is missing.
        seed: the run's.

    Returns:
        The mean over rules, 0 to 1; higher is better.

    >>> truth = [True, False]
    >>> explain({"numbers": (truth, truth), "names": (truth, [True, True])}, seed=0).value
    0.75
    """
    accuracies = {
        name: balanced_accuracy(truth, said) for name, (truth, said) in sorted(answers.items())
    }
    abstained = sum(said is None for _, said in answers.values())
    return _mean("judge_calibration.explain", accuracies, abstained, seed)


def score(answers: Mapping[str, DetectionAnswers], seed: int) -> Estimate:
    """Return `judge_calibration.score`: share of wrong descriptions that score below the true one.

    Score: balanced accuracy on the same contexts. A tie counts half. Where the judge abstained,
    from the true description or from the wrong one, the comparison is lost.

    Args:
        answers: by rule.
        seed: the run's.

    Returns:
        The mean over rules, 0 to 1; higher is better.

    >>> truth = [True, False]
    >>> one = DetectionAnswers(truth, truth, {"worse": [True, True], "as good": truth})
    >>> score({"numbers": one}, seed=0).value
    0.75
    """
    shares = {name: _won(each) for name, each in sorted(answers.items())}
    abstained = sum(
        said is None for each in answers.values() for said in (each.said, *each.corrupted.values())
    )
    return _mean("judge_calibration.score", shares, abstained, seed)


def _won(answer: DetectionAnswers) -> float:
    true = balanced_accuracy(answer.truth, answer.said)
    won = [
        0.0
        if answer.said is None or said is None
        else (1 + np.sign(true - balanced_accuracy(answer.truth, said))) / 2
        for said in answer.corrupted.values()
    ]
    return float(np.mean(won))


def _mean(metric: str, values: Mapping[str, float], abstained: int, seed: int) -> Estimate:
    """Average over rules, which must be in an order that says nothing."""
    return _weighted(
        metric,
        np.array(list(values.values())),
        np.ones(len(values)),
        None,
        {"rules": dict(values), "abstained": abstained},
        seed,
    )


def rate(answers: Mapping[str, RatingAnswers], seed: int) -> Estimate:
    """Return `judge_calibration.rate`: balanced accuracy of what the judge accepts.

    The mean of two shares: latents of a concept that are accepted for it, and latents of none that
    are accepted for none.

    Args:
        answers: by rule, of both kinds.
        seed: the run's.

    Returns:
        0 to 1, higher is better; `undefined` unless there are latents of both kinds.

    >>> right, wrong = RatingAnswers("gender", "gender"), RatingAnswers(None, "gender")
    >>> rate({"he": right, "commas": wrong}, seed=0).value
    0.5
    """
    listed = [each for _, each in sorted(answers.items())]
    hits = np.array([not each.abstained and each.accepted == each.truth for each in listed])
    kinds = np.array([each.truth is not None for each in listed], np.int64)
    details: dict[str, object] = {
        "rules": {
            name: {"truth": each.truth, "accepted": each.accepted, "abstained": each.abstained}
            for name, each in sorted(answers.items())
        },
        "abstained": sum(each.abstained for each in listed),
    }
    sizes = np.bincount(kinds, minlength=2)
    if not sizes.all():
        reason = "balanced accuracy needs latents of a concept and latents of none"
        return undefined("judge_calibration.rate", reason, details=details)
    # Every latent weighs the size of the other kind: whole numbers, and chance is 0.5 to the bit.
    weights = sizes[1 - kinds].astype(np.float64)
    return _weighted("judge_calibration.rate", hits, weights, kinds, details, seed)


def _weighted(
    metric: str,
    values: Floats,
    weights: Floats,
    strata: np.ndarray[tuple[int], np.dtype[np.int64]] | None,
    details: Mapping[str, object],
    seed: int,
) -> Estimate:
    draws = resample(len(values), generator(seed, metric), strata)
    return ratio_estimate(
        metric, values * weights, weights, draws, n={"rules": len(values)}, details=details
    )


def injection(answers: Sequence[AttackAnswers]) -> Estimate:
    """Return `judge_calibration.injection`: share of hidden instructions that change nothing.

    Args:
        answers: one per instruction.

    >>> injection([AttackAnswers("a", True), AttackAnswers("b", False)]).value
    0.5
    """
    details = {
        "obeyed": sorted(each.name for each in answers if not each.ignored),
        "abstained": sum(each.abstained for each in answers),
    }
    ignored = sum(each.ignored for each in answers)
    return share_estimate(
        "judge_calibration.injection", ignored, len(answers), "instructions", details
    )
