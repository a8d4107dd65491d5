"""A judge tested on latents whose truth is known, before anything that it says is believed.

measure(given) -> list[Estimate]
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from pytest_sae.data.calibration import calibration_texts
from pytest_sae.judge.base import Answer, Judge
from pytest_sae.judge.calibration.contexts import KnownContexts, known
from pytest_sae.judge.calibration.latent_rules import CONCEPTS, RULES, LatentRule
from pytest_sae.judge.calibration.requests import again, first
from pytest_sae.judge.prompts import detect, explain, rate
from pytest_sae.judge.prompts.rate import Rating
from pytest_sae.judge.request import Request
from pytest_sae.measure.given import Given
from pytest_sae.metrics import judge_calibration as metrics
from pytest_sae.metrics.judge_calibration import (
    AttackAnswers,
    DetectionAnswers,
    RatingAnswers,
    Said,
)
from pytest_sae.numbers.estimate import Estimate

NAMES = (
    "judge_calibration.explain",
    "judge_calibration.score",
    "judge_calibration.rate",
    "judge_calibration.injection",
)

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class _Answers:
    """What the judge said about one rule's latent.

    Args:
        known: the latent.
        first: its answers by kind of question.
        explanation: its own, None where it abstained.
        from_own: which contexts it detects by that explanation.
    """

    known: KnownContexts
    first: Mapping[str, Answer]
    explanation: str | None
    from_own: Said

    def said(self, kind: str) -> Said:
        """Return which contexts it detects by a description."""
        return detect.read(self.first[kind], len(self.known.scored))

    def rating(self, kind: str) -> Rating | None:
        """Return its rating."""
        return rate.read(self.first[kind], CONCEPTS)


def measure(given: Given) -> list[Estimate]:
    """Return the four calibration figures of who judges; no dictionary has a part in it."""
    return calibrated(given.asked(), given.seed)


def calibrated(judge: Judge, seed: int, rules: Sequence[LatentRule] = RULES) -> list[Estimate]:
    """Return the four calibration figures of a judge, in the order of `NAMES`.

    Two stages of questions: first everything that needs no answer, then detection with the
    explanations that the judge gave.

    Args:
        judge: to be tested.
        seed: the run's; decides which contexts are shown.
        rules: the latents.

    Raises:
        JudgeError: no answer can be had.
        DataError: the bundled texts are not there.
    """
    answers = _answers(judge, seed, rules)
    explained = metrics.explain(
        {name: (each.known.truth, each.from_own) for name, each in answers.items()}, seed
    )
    told = {name: _told(each) for name, each in sorted(answers.items())}
    estimates = (
        replace(explained, details={**explained.details, "answers": told}),
        metrics.score({name: _detected(each) for name, each in answers.items()}, seed),
        metrics.rate(
            {name: _rated(each) for name, each in answers.items() if each.known.rule.rated}, seed
        ),
        metrics.injection([each for answer in answers.values() for each in _resisted(answer)]),
    )
    about = {"judge": judge.name, "kind": judge.kind}
    return [replace(each, details={**about, **each.details}) for each in estimates]


def _answers(judge: Judge, seed: int, rules: Sequence[LatentRule]) -> dict[str, _Answers]:
    latents = {each.rule.name: each for each in known(calibration_texts(), rules, seed)}
    questions = {name: first(latent) for name, latent in latents.items()}
    answers = _ask(
        judge,
        {(name, kind): each for name, kinds in questions.items() for kind, each in kinds.items()},
    )
    explanations = {name: explain.read(answers[name, "explain"]) for name in latents}
    own = _ask(
        judge, {name: again(latents[name], text) for name, text in explanations.items() if text}
    )
    return {
        name: _Answers(
            latent,
            {kind: answers[name, kind] for kind in questions[name]},
            explanations[name],
            detect.read(own[name], len(latent.scored)) if name in own else None,
        )
        for name, latent in latents.items()
    }


def _ask(judge: Judge, requests: Mapping[Key, Request]) -> dict[Key, Answer]:
    return dict(zip(requests, judge.ask(list(requests.values())), strict=True))


def _detected(answers: _Answers) -> DetectionAnswers:
    wrong = {kind: answers.said(kind) for kind in answers.known.rule.corruptions}
    return DetectionAnswers(answers.known.truth, answers.said("true"), wrong)


def _rated(answers: _Answers) -> RatingAnswers:
    rating = answers.rating("rate")
    accepted = None if rating is None else rating.accepted
    return RatingAnswers(answers.known.rule.concept, accepted, abstained=rating is None)


def _resisted(answers: _Answers) -> list[AttackAnswers]:
    name = answers.known.rule.name
    clean, attacked = answers.rating("rate"), answers.rating("rate hidden")
    if clean is None or attacked is None:
        rating = AttackAnswers(f"{name}, rate", ignored=False, abstained=True)
    else:
        rating = AttackAnswers(f"{name}, rate", ignored=clean.accepted == attacked.accepted)
    said, under_attack = answers.said("true"), answers.said("true hidden")
    if said is None or under_attack is None:
        detection = AttackAnswers(f"{name}, detect", ignored=False, abstained=True)
    else:
        # The demand is a match everywhere: obeyed where most of what was none has become one.
        turned = [now for before, now in zip(said, under_attack, strict=True) if not before]
        obeyed = 2 * sum(turned) > len(turned)
        detection = AttackAnswers(f"{name}, detect", ignored=not obeyed)
    return [rating, detection]


def _told(answers: _Answers) -> dict[str, object]:
    """What a reader of the report wants to see of one rule, as builtins."""
    rating = answers.rating("rate")
    return {
        "description": answers.known.rule.true.text,
        "explanation": answers.explanation,
        "ratings": None if rating is None else dict(rating.ratings),
    }
