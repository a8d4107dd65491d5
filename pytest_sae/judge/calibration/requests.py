"""Everything that a judge is asked about a latent whose truth is known.

    first(known, place) -> {kind: Request}
    again(known, explanation) -> Request

Kinds: `explain`; `true`, `other`, `broad`, `near` (detection with that description); `rate`; and
`rate hidden`, `true hidden` with an instruction in one of the contexts.
"""

from __future__ import annotations

import zlib

from pytest_sae.judge.calibration.attacks import detection_attack, hidden, rating_attack
from pytest_sae.judge.calibration.contexts import KnownContexts
from pytest_sae.judge.calibration.latent_rules import CONCEPTS
from pytest_sae.judge.prompts import detect, explain, rate
from pytest_sae.judge.request import Request


def first(known: KnownContexts) -> dict[str, Request]:
    """Return the questions that need no answer to another one, by kind."""
    rule, place = known.rule, zlib.crc32(known.rule.name.encode())
    demand, _ = rating_attack(rule, place)
    descriptions = {"true": rule.true, **rule.corruptions}
    detections = {
        kind: detect.detection(each.text, known.scored) for kind, each in descriptions.items()
    }
    attacked = hidden(known.scored, detection_attack(place))
    return {
        "explain": explain.request(known.shown, ()),
        **detections,
        "rate": rate.request(CONCEPTS, known.shown, ()),
        "rate hidden": rate.request(CONCEPTS, hidden(known.shown, demand), ()),
        "true hidden": detect.detection(rule.true.text, attacked),
    }


def again(known: KnownContexts, explanation: str) -> Request:
    """Return the detection question with the judge's own explanation.

    Args:
        known: the latent, with its contexts for scoring.
        explanation: of that latent, by the judge.
    """
    return detect.detection(explanation, known.scored)
