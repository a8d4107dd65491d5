"""From the scores of single latents to the autointerp figures, with their floors.

    estimate(metric, scores, seed, details) -> Estimate
    failed(latents, count, details) -> Estimate
    withheld(estimates, failed) -> list[Estimate]

A value is a mean over latents drawn in equal numbers from each density stratum; its interval is a
bootstrap over the latents, within strata. Beside it stand two floors: an answer that does not
depend on the context, and the explanation of another latent. What the explanation is worth is the
paired gain over the second one: a judge can score above 0.5 without reading the explanation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np

from pytest_sae.metrics.autointerp import Score
from pytest_sae.numbers.bootstrap import Floats, generator, resample, share_estimate, spread
from pytest_sae.numbers.estimate import Estimate, undefined

FEWEST = 10  # latents; below this an interval over latents says nothing
MOST_FAILED = 0.1
_BINS = 10


def estimate(
    metric: str, scores: Sequence[Score], seed: int, details: Mapping[str, object] | None = None
) -> Estimate:
    """Return the mean score over latents; in [0, 1], higher is better, 0.5 is chance.

    Args:
        metric: its name.
        scores: one per latent, in any order.
        seed: the run's; two dictionaries' intervals use draws of the same generator.
        details: for the report, beside floors, strata and a histogram.

    Returns:
        The mean with its interval over latents; `undefined` below ten latents.

    >>> scores = [Score(latent, 0, 0.75, constant=0.5, contexts=20) for latent in range(10)]
    >>> found = estimate("autointerp.detection", scores, seed=0)
    >>> found.value, found.se, found.n
    (0.75, 0.0, {'latents': 10, 'contexts': 200})
    """
    ordered = sorted(scores, key=lambda score: score.latent)
    if len(ordered) < FEWEST:
        reason = (
            f"only {len(ordered)} latents could be scored, and {FEWEST} are needed: the effective "
            "n is small; give the corpus more texts, or take a larger suite"
        )
        return undefined(metric, reason, details=details)
    values = np.array([score.value for score in ordered])
    se, ci = spread(_means(ordered, values, seed))
    return Estimate(
        metric,
        float(values.mean()),
        se=se,
        ci=ci,
        n={"latents": len(ordered), "contexts": sum(score.contexts for score in ordered)},
        details={
            **(details or {}),
            "floors": _floors(ordered, seed),
            "strata": _by_stratum(ordered),
            "histogram": _histogram(values),
        },
    )


def failed(latents: Set[int], count: int, details: Mapping[str, object] | None = None) -> Estimate:
    """Return the share of latents with a question that was left unanswered; lower is better.

    Args:
        latents: those with no explanation or an unanswered request.
        count: how many latents were asked about.
        details: for the report.

    Returns:
        A share from 0 to 1 with Wilson's interval.

    >>> failed({3}, 10).value
    0.1
    """
    more = {**(details or {}), "failed": sorted(latents)}
    return share_estimate("autointerp.failed", len(latents), count, "latents", more)


def withheld(estimates: Sequence[Estimate], failed: Estimate) -> list[Estimate]:
    """Return the estimates, undefined if too many latents failed for them to mean anything.

    Unanswered questions count as wrong, so that a mean over many of them is a statement about the
    judge's form and not about the dictionary.

    Args:
        estimates: of one judge.
        failed: from `failed`, of the same judge.

    Returns:
        The same estimates if at most a tenth of the latents failed; without values otherwise.

    >>> found = withheld([Estimate("autointerp.detection", 0.75)], failed({1, 2}, 10))
    >>> found[0].status
    'undefined'
    """
    if failed.value is None or failed.value <= MOST_FAILED:
        return list(estimates)
    reason = (
        f"the judge left questions about {failed.value:.0%} of {failed.n['latents']} latents "
        f"unanswered, more than {MOST_FAILED:.0%}: see autointerp.failed for what it said instead"
    )
    return [
        undefined(each.metric, reason, each.params, each.details) if each.status == "ok" else each
        for each in estimates
    ]


def _means(ordered: Sequence[Score], values: Floats, seed: int) -> Floats:
    strata = np.array([score.stratum for score in ordered], np.int64)
    draws = resample(len(ordered), generator(seed, "autointerp", "latents"), strata)
    return draws.sums(values[:, None])[:, 0] / len(ordered)


def _floors(ordered: Sequence[Score], seed: int) -> dict[str, object]:
    compared = [score for score in ordered if score.shuffled is not None]
    floors: dict[str, object] = {
        "constant": float(np.mean([score.constant for score in ordered])),
        "shuffled": None,
        "gain": None,
    }
    if compared:
        shuffled = np.array([score.shuffled for score in compared], np.float64)
        own = np.array([score.value for score in compared])
        floors["shuffled"] = _point(compared, shuffled, seed)
        floors["gain"] = _point(compared, own - shuffled, seed)
    return floors


def _point(scores: Sequence[Score], values: Floats, seed: int) -> dict[str, object]:
    se, ci = spread(_means(scores, values, seed))
    return {
        "value": float(values.mean()),
        "se": se,
        "ci": None if ci is None else list(ci),
        "latents": len(values),
    }


def _by_stratum(ordered: Sequence[Score]) -> dict[str, object]:
    groups = sorted({score.stratum for score in ordered})
    members = {g: [score.value for score in ordered if score.stratum == g] for g in groups}
    return {
        str(group): {"value": float(np.mean(values)), "latents": len(values)}
        for group, values in members.items()
    }


def _histogram(values: Floats) -> dict[str, object]:
    counts, edges = np.histogram(values, bins=_BINS, range=(0.0, 1.0))
    return {"edges": [round(float(edge), 6) for edge in edges], "latents": counts.tolist()}
