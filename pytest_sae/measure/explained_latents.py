"""Which latents autointerp is about, their contexts, and what the judge says they are.

choose(latents, texts, seed, sizes) -> DrawnLatents
explained(subjects, promoted, judge, seed) -> subjects with explanations
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

import numpy as np

from pytest_sae.activations.contexts import Context, LatentEvidence
from pytest_sae.activations.evidence import EvidenceSizes
from pytest_sae.activations.latents import Latents
from pytest_sae.judge.base import Judge
from pytest_sae.judge.prompts import explain
from pytest_sae.metrics.autointerp_sample import borrowed, quotas, strata

FEWEST_CONTEXTS = 10  # of either kind, below which a latent's own score is mostly noise
FEWEST_SHOWN = 5  # for explaining
FLOOR_SHARE = 0.25  # of the latents, whose contexts are also judged by another one's explanation
FLOOR_LEAST = 10
_SPARE = 2  # latents looked at for each one that is taken: many of the rarest have few contexts


@dataclass(frozen=True)
class AutointerpSizes:
    """How much a run of autointerp looks at.

    Args:
        latents: how many are explained and scored.
        strata: groups of live latents by density, from each of which as many are drawn.
        intervened: how many of them are explained by their effect, too.
        evidence: contexts of each.
    """

    latents: int = 100
    strata: int = 5
    intervened: int = 30
    evidence: EvidenceSizes = field(default_factory=EvidenceSizes)


@dataclass(frozen=True)
class ExplainedLatent:
    """A latent that is explained and scored.

    Args:
        evidence: its contexts.
        stratum: by density, 0 the rarest.
        explanation: what the judge says it is, None where it abstained.
        borrowed: the explanation of another latent, for the floor; None where it is not asked.
    """

    evidence: LatentEvidence
    stratum: int
    explanation: str | None = None
    borrowed: str | None = None

    @property
    def latent(self) -> int:
        """Its index."""
        return self.evidence.latent

    @property
    def contexts(self) -> tuple[Context, ...]:
        """Those for scoring, the activating ones first."""
        return (*self.evidence.scored, *self.evidence.random, *self.evidence.hard)

    @property
    def truth(self) -> list[bool]:
        """(context,) whether it fires there."""
        return [context.peak > 0 for context in self.contexts]


@dataclass(frozen=True)
class DrawnLatents:
    """The latents that were drawn.

    Args:
        subjects: those with contexts enough, by stratum and then in the order of drawing.
        strata: for the report, what became of each stratum.
    """

    subjects: tuple[ExplainedLatent, ...]
    strata: Mapping[str, object]


def choose(
    latents: Latents, texts: Sequence[str], seed: int, sizes: AutointerpSizes
) -> DrawnLatents:
    """Draw as many live latents of each density and collect their contexts.

    Latents with too few contexts are passed over for the next of their stratum, and counted.

    Args:
        latents: of the dictionary.
        texts: the corpus; half of it explains, half of it scores.
        seed: of the draw.
        sizes: how many.

    Returns:
        The subjects by stratum, and what became of each stratum.
    """
    densities = latents.densities(texts)
    groups = strata(densities, sizes.strata, seed)
    wanted = quotas(sizes.latents, sizes.strata)
    looked = [group[: _SPARE * quota] for group, quota in zip(groups, wanted, strict=True)]
    indices = np.array(sorted(each for group in looked for each in group), np.int64)
    found = {
        each.latent: each
        for each in (latents.evidence(texts, indices, sizes.evidence, seed) if len(indices) else ())
    }
    subjects: list[ExplainedLatent] = []
    table: dict[str, object] = {}
    for stratum, (group, drawn, quota) in enumerate(zip(groups, looked, wanted, strict=True)):
        faults = {latent: fault(found[latent]) for latent in drawn}
        taken = [latent for latent in drawn if not faults[latent]][:quota]
        subjects += [ExplainedLatent(found[latent], stratum) for latent in taken]
        table[str(stratum)] = {
            "live": len(group),
            "densities": _span([float(densities[latent]) for latent in group]),
            "looked_at": len(drawn),
            "passed_over": dict(sorted(Counter(filter(None, faults.values())).items())),
            "taken": len(taken),
        }
    return DrawnLatents(tuple(subjects), table)


def fault(evidence: LatentEvidence) -> str:
    """Say why a latent cannot be explained and scored, empty if it can."""
    if len(evidence.top) + len(evidence.samples) < FEWEST_SHOWN:
        return "too few contexts to explain it from"
    if len(evidence.scored) < FEWEST_CONTEXTS:
        return "too few activating contexts to score on"
    if len(evidence.random) + len(evidence.hard) < FEWEST_CONTEXTS:
        return "too few silent contexts to score on"
    return ""


def explained(
    subjects: Sequence[ExplainedLatent], promoted: Sequence[Sequence[str]], judge: Judge, seed: int
) -> list[ExplainedLatent]:
    """Have each latent explained, and give some of them the explanation of another.

    Args:
        subjects: from `choose`.
        promoted: tokens that each of them promotes, in their order.
        judge: is asked everything at once.
        seed: of who gets whose explanation.

    Returns:
        The subjects with explanations; None where the judge abstained.
    """
    requests = [
        explain.request((*each.evidence.top, *each.evidence.samples), tokens)
        for each, tokens in zip(subjects, promoted, strict=True)
    ]
    said = [explain.read(answer) or None for answer in judge.ask(requests)]
    pairs = zip(subjects, said, strict=True)
    return with_borrowed([replace(each, explanation=text) for each, text in pairs], seed)


def with_borrowed(subjects: Sequence[ExplainedLatent], seed: int) -> list[ExplainedLatent]:
    """Give the first quarter of each stratum, at least ten in all, another one's explanation.

    Only explanations that were given are lent, and only to latents that have one themselves: the
    floor is about what explanations say, failures are counted elsewhere.

    Args:
        subjects: with explanations.
        seed: of who gets whose.
    """
    told = {each.latent: each.explanation for each in subjects if each.explanation}
    if len(told) < 2:
        return list(subjects)
    lender = borrowed(list(told), seed)
    wanted = max(FLOOR_LEAST, ceil(FLOOR_SHARE * len(subjects)))
    speaking = [each for each in subjects if each.explanation]
    chosen = {each.latent for each in evenly(speaking, wanted)}
    return [
        replace(each, borrowed=told[lender[each.latent]]) if each.latent in chosen else each
        for each in subjects
    ]


def evenly(subjects: Sequence[ExplainedLatent], count: int) -> list[ExplainedLatent]:
    """Return the first subjects of each stratum, `count` of them in all if there are as many.

    Args:
        subjects: of any strata.
        count: how many in all.

    Returns:
        The first of every stratum, then the second of every stratum, and so on.
    """
    seen: Counter[int] = Counter()
    ranked: list[tuple[int, int, ExplainedLatent]] = []
    for each in subjects:
        seen[each.stratum] += 1
        ranked.append((seen[each.stratum], each.stratum, each))
    return [each for *_, each in sorted(ranked, key=lambda entry: entry[:2])[:count]]


def _span(values: Sequence[float]) -> list[float]:
    return [min(values), max(values)] if values else []
