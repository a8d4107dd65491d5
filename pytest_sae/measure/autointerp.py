"""Automatic interpretability of one dictionary: what a judge's explanations of latents are worth.

    measure(given) -> list[Estimate]

Latents are drawn evenly over densities and explained from one half of the corpus; explanations are
scored on the other half, by five scorers (Paulo et al. 2024, arXiv 2410.13928). An unanswered
question is a wrong answer, and is counted in `autointerp.failed`; if more than a tenth of the
latents has one, nothing here is a statement about the dictionary, and all of it is undefined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TypeVar

from pytest_sae.judge.base import Judge
from pytest_sae.measure import embedding, surprisal
from pytest_sae.measure.detection import DetectionResult, detected
from pytest_sae.measure.explained_latents import AutointerpSizes, ExplainedLatent, choose, explained
from pytest_sae.measure.given import Given
from pytest_sae.measure.intervention import InterventionResult, intervene
from pytest_sae.measure.logit_lens import top_tokens
from pytest_sae.metrics import autointerp_estimates as figures
from pytest_sae.metrics.autointerp import Score
from pytest_sae.models.absent import why_silent
from pytest_sae.numbers.estimate import Estimate, Param, not_applicable, undefined

__all__ = ["NAMES", "AutointerpSizes", "measure"]

T = TypeVar("T")

DETECTION = "autointerp.detection"
FUZZING = "autointerp.fuzzing"
SURPRISAL = "autointerp.surprisal"
EMBEDDING = "autointerp.embedding"
INTERVENTION = "autointerp.intervention"
FAILED = "autointerp.failed"

#: Metrics with their settings, in the order in which they are returned.
NAMES: tuple[tuple[str, Mapping[str, Param]], ...] = tuple(
    (name, {}) for name in (DETECTION, FUZZING, SURPRISAL, EMBEDDING, INTERVENTION, FAILED)
)


def measure(given: Given) -> list[Estimate]:
    """Return the metrics of `NAMES`; without a scorer or an embedder theirs are not applicable.

    Raises:
        DataError: the run has no held-out texts.
        JudgeError: the judge cannot be asked.
    """
    return scored(
        given,
        AutointerpSizes(latents=given.counts["latents"], intervened=given.counts["intervened"]),
    )


def scored(given: Given, sizes: AutointerpSizes) -> list[Estimate]:
    """Return what `measure` does, looking at as much as `sizes` says.

    Args:
        given: to measure from.
        sizes: how much is looked at.
    """
    latents, judge, seed = given.latents, given.asked(), given.seed
    texts = given.corpus("interpretability").texts
    choice = choose(latents, texts, seed, sizes)
    drawn: dict[str, object] = {"drawn": dict(choice.strata)}
    if len(choice.subjects) < figures.FEWEST:
        return _too_few(len(choice.subjects), drawn)
    bill = _Bill(judge, len(choice.subjects))
    tokens = top_tokens(latents, [each.latent for each in choice.subjects])
    subjects = bill.paid("explaining", lambda: explained(choice.subjects, tokens, judge, seed))
    found = bill.paid("spotting", lambda: detected(subjects, judge, seed))
    steered = InterventionResult([], frozenset())
    if latents.model.predicts:
        count = sizes.intervened
        steered = bill.paid(
            "intervening", lambda: intervene(latents, texts, subjects, judge, seed, count)
        )
    scores = _scores(given, subjects, found, steered)
    silent = {each.latent for each in subjects if each.explanation is None}
    unanswered = silent | found.unanswered | steered.unanswered
    failed = figures.failed(unanswered, len(subjects), {**drawn, "spent": bill.items})
    details = {
        DETECTION: {**drawn, "latents": _table(subjects, scores)},
        INTERVENTION: steered.details,
    }
    missing = {**_MISSING, INTERVENTION: why_silent(latents.model)}
    made = [
        figures.estimate(name, scores[name], seed, details.get(name, {}))
        if name in scores
        else not_applicable(name, missing[name])
        for name, _ in NAMES
        if name != FAILED
    ]
    return [*figures.withheld(made, failed), failed]


def _scores(
    given: Given,
    subjects: Sequence[ExplainedLatent],
    found: DetectionResult,
    steered: InterventionResult,
) -> dict[str, list[Score]]:
    """Return the scores by every scorer that this run has."""
    scores = {DETECTION: found.scores["detection"], FUZZING: found.scores["fuzzing"]}
    if given.latents.model.predicts:
        scores[INTERVENTION] = steered.scores
    if given.scorer is not None:
        scores[SURPRISAL] = surprisal.score(subjects, given.scorer)
    if given.embedder is not None:
        scores[EMBEDDING] = embedding.score(subjects, given.embedder)
    return scores


_MISSING = {
    SURPRISAL: "no scorer model: --sae-scorer=PATH",
    EMBEDDING: "no embedding model: --sae-embedder=PATH",
}


def _too_few(found: int, details: Mapping[str, object]) -> list[Estimate]:
    reason = (
        f"only {found} latents have enough contexts in the corpus to be explained and scored, and "
        f"{figures.FEWEST} are needed: the effective n is small; give the corpus more texts"
    )
    return [undefined(name, reason, details=details) for name, _ in NAMES]


def _table(
    subjects: Sequence[ExplainedLatent], scores: Mapping[str, Sequence[Score]]
) -> list[dict[str, object]]:
    """One row for each latent, by index: what was said of it and what that scored."""
    by_latent = {
        name.removeprefix("autointerp."): {score.latent: score.value for score in found}
        for name, found in scores.items()
    }
    return [
        {
            "latent": each.latent,
            "stratum": each.stratum,
            "density": each.evidence.density,
            "explanation": each.explanation,
            "scores": {
                name: values[each.latent]
                for name, values in sorted(by_latent.items())
                if each.latent in values
            },
        }
        for each in sorted(subjects, key=lambda each: each.latent)
    ]


@dataclass(frozen=True)
class _Bill:
    """What each part of the asking has cost."""

    judge: Judge
    latents: int
    items: dict[str, object] = field(default_factory=dict)

    def paid(self, stage: str, ask: Callable[[], T]) -> T:
        """Return what `ask` returns and put what it cost on the bill."""
        before = asdict(self.judge.spent)
        result = ask()
        after = asdict(self.judge.spent)
        counted = {name: after[name] - before[name] for name in _COUNTED}
        tokens = counted["input_tokens"] + counted["output_tokens"]
        self.items[stage] = {**counted, "tokens_per_latent": tokens / self.latents}
        return result


_COUNTED = ("requests", "repaired", "abstained", "input_tokens", "output_tokens")
