"""Intervention: does an explanation written from a latent's effect single that effect out?

    intervene(latents, texts, subjects, judge, seed, count) -> InterventionResult

After Paulo et al. 2024: each latent's direction is added to the stream at a strength matched in
KL. From what this does to the next token after some prompts the judge writes an explanation; after
other prompts, of other documents, it picks between the tokens that this latent raised and those
that another one raised at the same KL after the same prompt. The score is the share of right
picks, with 0.5 for a guess. (Theirs is a difference of a scorer's losses in nats, which has no
upper end and no chance level.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pytest_sae.activations.latents import Latents
from pytest_sae.activations.steering import TARGET, Steered, steer
from pytest_sae.judge.base import Judge
from pytest_sae.judge.prompts import effect, pick
from pytest_sae.measure.explained_latents import FLOOR_LEAST, ExplainedLatent, evenly
from pytest_sae.metrics.autointerp import Score
from pytest_sae.metrics.autointerp_sample import borrowed, priority

Whose = Literal["own", "borrowed"]
Picks = Mapping[tuple[int, Whose], Sequence[str] | None]

PROMPTS = 10  # for explaining, and as many for scoring
_WORDS = 16  # of a prompt at most
_OWN: Whose = "own"
_BORROWED: Whose = "borrowed"
_FEWEST = 3  # latents: one that is asked about, one that lends its explanation, one to tell from


@dataclass(frozen=True)
class InterventionResult:
    """What the judge made of the effects.

    Args:
        scores: one for each latent that was steered.
        unanswered: latents with a question left unanswered.
        details: for the report.
    """

    scores: list[Score]
    unanswered: frozenset[int]
    details: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class EffectPair:
    """What two latents raise after one prompt, in the order in which they are shown.

    Args:
        shown: tokens of A and of B.
        right: which of them is the latent's that is asked about.
    """

    shown: tuple[tuple[str, ...], tuple[str, ...]]
    right: str


def intervene(
    latents: Latents,
    texts: Sequence[str],
    subjects: Sequence[ExplainedLatent],
    judge: Judge,
    seed: int,
    count: int,
) -> InterventionResult:
    """Steer some latents, have their effects explained, and score the explanations.

    Args:
        latents: of the dictionary.
        texts: documents that prompts are the beginnings of.
        subjects: sampled latents.
        judge: explains the effects, and picks.
        seed: of prompts, foils and orders.
        count: how many latents, evenly over the strata.

    Returns:
        A score for each latent that was steered, and those left unanswered; neither if there are
        too few latents or prompts.
    """
    chosen = evenly(subjects, count)
    explaining, scoring = prompts_of(texts, seed)
    if len(chosen) < _FEWEST or not scoring:
        return InterventionResult([], frozenset())
    prompts = (*explaining, *scoring)
    effects = {each.latent: steer(latents, each.latent, prompts) for each in chosen}
    return judged(chosen, effects, len(explaining), judge, seed)


def judged(
    subjects: Sequence[ExplainedLatent],
    effects: Mapping[int, Steered],
    explaining: int,
    judge: Judge,
    seed: int,
) -> InterventionResult:
    """Have effects explained, and score the explanations on the effects that they do not know.

    Args:
        subjects: those that were steered, three at least.
        effects: of each latent, after the same prompts.
        explaining: how many of the prompts, the first ones, the explanation is written from.
        judge: explains the effects, and picks.
        seed: of foils and orders.

    Returns:
        A score for each latent that was steered, those left unanswered, and what the report shows.
    """
    ordered = sorted(effects)
    asked = [effect.request(effects[each].effects[:explaining]) for each in ordered]
    said = {
        latent: effect.read(answer) or None
        for latent, answer in zip(ordered, judge.ask(asked), strict=True)
    }
    raised = {each: [one.raised for one in effects[each].effects[explaining:]] for each in ordered}
    lender = borrowed(ordered, seed)
    pairs = {latent: pairs_of(latent, raised, lender[latent], seed) for latent in ordered}
    compared = {each.latent for each in evenly(subjects, max(FLOOR_LEAST, len(subjects) // 4))}
    picks = _picked(pairs, said, {each: lender[each] for each in compared}, judge)
    scores = [_score(each, pairs[each.latent], picks) for each in subjects]
    unanswered = {latent for latent in ordered if picks.get((latent, _OWN)) is None}
    return InterventionResult(scores, frozenset(unanswered), _details(scores, said, effects))


def prompts_of(texts: Sequence[str], seed: int) -> tuple[list[str], list[str]]:
    """Return beginnings of documents, for explaining and for scoring; no document gives both.

    Args:
        texts: distinct documents.
        seed: of which documents, and where they are cut.
    """
    order = sorted(set(texts), key=lambda text: priority(seed, "prompt", text))
    prompts = list(dict.fromkeys(_beginning(text, seed) for text in order[: 4 * PROMPTS]))
    prompts = prompts[: 2 * PROMPTS]
    half = len(prompts) // 2
    return prompts[:half], prompts[half:]


def _beginning(text: str, seed: int) -> str:
    """Cut a text before one of its words, where something is still to come."""
    ends = [space.start() for space in re.finditer(r"(?<=\S)\s+(?=\S)", text)][:_WORDS]
    if not ends:
        return text
    later = ends[len(ends) // 2 :]  # a prompt of one or two words says little
    return text[: later[int.from_bytes(priority(seed, "cut", text)) % len(later)]]


def pairs_of(
    latent: int, raised: Mapping[int, Sequence[tuple[str, ...]]], lender: int, seed: int
) -> list[EffectPair]:
    """Return what a latent raises after each prompt beside what some other latent raises there.

    Half of the right lists are shown as A and half as B, so that a constant answer scores 0.5.

    Args:
        latent: which is asked about.
        raised: of each latent, the tokens it raises after each prompt.
        lender: the latent whose explanation is the floor; it is never the other one.
        seed: of the others and of the order.
    """
    others = sorted(set(raised) - {latent, lender})
    flip = priority(seed, "flip", latent)[0] % 2
    order = sorted(
        range(len(raised[latent])), key=lambda place: priority(seed, "side", latent, place)
    )
    pairs = {}
    for rank, place in enumerate(order):
        draw = int.from_bytes(priority(seed, "foil", latent, place))
        own, other = raised[latent][place], raised[others[draw % len(others)]][place]
        first = (rank + flip) % 2 == 0
        pairs[place] = EffectPair((own, other) if first else (other, own), "A" if first else "B")
    return [pairs[place] for place in sorted(pairs)]


def _picked(
    pairs: Mapping[int, Sequence[EffectPair]],
    said: Mapping[int, str | None],
    lenders: Mapping[int, int],
    judge: Judge,
) -> Picks:
    """Ask about each latent's pairs by its own explanation, and by its lender's if it has one."""
    own = [((latent, _OWN), text) for latent, text in said.items()]
    lent = [((latent, _BORROWED), said[other]) for latent, other in sorted(lenders.items())]
    wanted = [(key, text) for key, text in (*own, *lent) if text is not None]
    requests = [pick.request(text, [pair.shown for pair in pairs[key[0]]]) for key, text in wanted]
    return {
        key: pick.read(answer, len(pairs[key[0]]))
        for (key, _), answer in zip(wanted, judge.ask(requests), strict=True)
    }


def _score(subject: ExplainedLatent, pairs: Sequence[EffectPair], picks: Picks) -> Score:
    latent = subject.latent
    constant = sum(_share(pairs, [side] * len(pairs)) for side in "AB") / 2
    return Score(
        latent,
        subject.stratum,
        _share(pairs, picks.get((latent, _OWN))),
        constant,
        len(pairs),
        _share(pairs, picks[latent, _BORROWED]) if (latent, _BORROWED) in picks else None,
    )


def _share(pairs: Sequence[EffectPair], picks: Sequence[str] | None) -> float:
    """Share of right picks; unanswered ones are wrong."""
    if picks is None:
        return 0.0
    return sum(p.right == each for p, each in zip(pairs, picks, strict=True)) / len(pairs)


def _details(
    scores: Sequence[Score], said: Mapping[int, str | None], effects: Mapping[int, Steered]
) -> dict[str, object]:
    return {
        "target_kl": TARGET,
        "unreached": sum(not each.reached for each in effects.values()),
        "latents": [
            {
                "latent": each.latent,
                "stratum": each.stratum,
                "explanation": said[each.latent],
                "strength": effects[each.latent].strength,
                "kl": effects[each.latent].kl,
                "score": each.value,
            }
            for each in sorted(scores, key=lambda each: each.latent)
        ],
    }
