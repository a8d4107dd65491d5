"""Variants that follow from values that are there already.

with_derived(observations) -> the same and those that follow

`tpp.margin, unshrunk`: tpp.margin over relative_bias. What ablating latents takes from a margin is
proportional to how strongly they fire. A dictionary whose latents are right but too weak (L1
shrinks them) therefore scores as if it had found less. `1 / relative_bias` is the factor by which
its reconstruction would have to be multiplied to fit best.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_sae.audit.values import Observation

_SHRUNK, _BY, _NAME = "tpp.margin", "relative_bias", "tpp.margin, unshrunk"


def with_derived(observations: Sequence[Observation]) -> tuple[Observation, ...]:
    """Return observations and those that follow from them."""
    return (*observations, *_unshrunk(observations))


def _unshrunk(observations: Sequence[Observation]) -> Iterable[Observation]:
    bias = {(o.member, o.seed): o.value for o in observations if o.metric == _BY}
    for seen in observations:
        by = bias.get((seen.member, seen.seed))
        if seen.metric == _SHRUNK and seen.setting and (seen.member, seen.seed) in bias:
            value = seen.value / by if seen.value is not None and by else None
            yield Observation(seen.member, seen.seed, _NAME, seen.setting, value)
