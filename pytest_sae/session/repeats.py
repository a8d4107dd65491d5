"""Repeats: everything random done again with other seeds, and what comes of it as one estimate.

seeds(seed, repeats) -> tuple[int, ...]
combined(runs, seeds) -> list[Estimate]
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev

from pytest_sae.numbers.estimate import Estimate, undefined
from pytest_sae.numbers.keys import metric_key
from pytest_sae.numbers.plain import INTERVAL


def seeds(seed: int, repeats: int) -> tuple[int, ...]:
    """Return the seeds of the repeats: the run's own first, so that one repeat is a plain run.

    Args:
        seed: the run's.
        repeats: how many there are, at least 1.
    """
    derived = (hashlib.sha256(f"{seed} repeat {each}".encode()) for each in range(1, repeats))
    return (seed, *(int.from_bytes(each.digest()[:4], "big") >> 1 for each in derived))


def combined(runs: Sequence[Sequence[Estimate]], of: Sequence[int]) -> list[Estimate]:
    """Return the estimates of several repeats as one of each.

    The value is the mean over the repeats. All of them share their texts, so that averaging does
    not make the error over texts smaller; their spread `s` over N repeats adds to it:
    `se^2 = mean of the se^2 + s^2 / N`. Where a single repeat's standard error covers its probe
    fits too, that is more than the truth, never less. The interval keeps its shape.

    Args:
        runs: estimates of each repeat, the same ones in the same order.
        of: seed of each repeat.

    Returns:
        With the values, the seeds and `sd`, the spread, under `repeats` in their details; undefined
        where one of the repeats is.

    Raises:
        ValueError: the repeats did not estimate the same things.
    """
    return [_one(each, of) for each in zip(*runs, strict=True)]


def _one(repeats: Sequence[Estimate], of: Sequence[int]) -> Estimate:
    first = repeats[0]
    keys = {metric_key(each.metric, each.params) for each in repeats}
    if len(keys) > 1:
        raise ValueError(f"the repeats estimated different things: {', '.join(sorted(keys))}")
    missing = [each for each in repeats if each.status != "ok" or each.value is None]
    if len(missing) == len(repeats):
        return first
    if missing:
        reason = f"{len(missing)} of {len(repeats)} repeats have no value: {missing[0].reason}"
        return undefined(first.metric, reason, first.params, first.details)
    values = [each.value for each in repeats if each.value is not None]
    value, spread = fmean(values), stdev(values)
    se, ci = _uncertainty(repeats, value, spread / math.sqrt(len(values)))
    told = {"values": values, "sd": spread, "seeds": list(of)}
    return replace(
        first,
        value=value,
        se=se,
        ci=ci,
        seeds=sum(each.seeds for each in repeats),
        details={**first.details, "repeats": told},
        influence=_influence(repeats, values),
    )


def _uncertainty(
    repeats: Sequence[Estimate], value: float, between: float
) -> tuple[float | None, tuple[float, float] | None]:
    errors = [each.se for each in repeats if each.se is not None]
    if len(errors) < len(repeats):
        return None, None
    within = math.sqrt(fmean(error**2 for error in errors))
    se = math.hypot(within, between)
    below = [each.value - each.ci[0] for each in repeats if each.ci and each.value is not None]
    above = [each.ci[1] - each.value for each in repeats if each.ci and each.value is not None]
    if len(below) < len(repeats):
        return se, None
    if not within:
        return se, (value - INTERVAL * se, value + INTERVAL * se)
    wider = se / within
    return se, (value - wider * fmean(below), value + wider * fmean(above))


def _influence(repeats: Sequence[Estimate], values: Sequence[float]) -> tuple[float, ...]:
    """Return what each text adds on average, and then what each repeat adds."""
    lengths = {len(each.influence) for each in repeats}
    if lengths == {0} or len(lengths) > 1:
        return ()
    texts = [fmean(column) for column in zip(*(each.influence for each in repeats), strict=True)]
    mean, scale = fmean(values), math.sqrt(len(values) * (len(values) - 1))
    return (*texts, *((value - mean) / scale for value in values))
