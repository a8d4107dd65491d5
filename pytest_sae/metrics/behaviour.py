"""What splicing a reconstruction into the model does to its predictions.

predictions(valid, at) -> mask                    # which predictions count
cross_entropy(logits, ids, mask) -> (text,)       # sums per text, float64
kl(clean_logits, logits, mask) -> (text,)
BehaviourSums(tokens, clean, spliced, mean_ablated, zero_ablated, kl, groups)
finish(sums, seed) -> list[Estimate]
without_predictions(reason) -> list[Estimate]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.metrics.protocol import MIN_STANDARD_ERRORS
from pytest_sae.metrics.token_groups import Group
from pytest_sae.numbers.bootstrap import (
    Floats,
    Resamples,
    generator,
    ratio_estimate,
    resample,
    spread,
)
from pytest_sae.numbers.estimate import Estimate, not_applicable, undefined

_PER_TOKEN = {
    "ce_clean": "clean",
    "ce_spliced": "spliced",
    "ce_mean_ablated": "mean_ablated",
    "ce_zero_ablated": "zero_ablated",
    "kl": "kl",
}
_RECOVERED = {"ce_recovered": "mean_ablated", "ce_recovered.zero": "zero_ablated"}
_COLUMNS = ("tokens", *_PER_TOKEN.values())  # of BehaviourSums
_ROWS = 512  # token positions whose log-softmax is held at once


def predictions(valid: Tensor, at: Tensor | None = None) -> Tensor:
    """Mark the positions whose next-token prediction counts, (text, pos) bool.

    A prediction counts if it is made at a valid token, of a valid token: special tokens keep their
    activation in every variant, so what is predicted at them says little about the dictionary.

    Args:
        valid: (text, pos) bool, no BOS, EOS or padding.
        at: (text, pos) bool, where else than at the valid tokens predictions are made; what is
            predicted is a valid token all the same.

    Returns:
        True at a position whose next token is predicted and counted.

    >>> predictions(torch.tensor([[False, True, True, False]])).tolist()
    [[False, True, False, False]]
    """
    at = valid if at is None else at
    mask = torch.zeros_like(valid)
    mask[:, :-1] = at[:, :-1] & valid[:, 1:]
    return mask


def cross_entropy(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Sum the next-token cross-entropy of each text, in nats.

    Args:
        logits: (text, pos, vocab), any float type; log-softmax is taken in float32.
        ids: (text, pos) long.
        mask: (text, pos) bool from `predictions`, the same for every variant.

    Returns:
        (text,) float64 on the logits' device.

    Logits that are all alike cost `ln vocab` a token, here twice ln 4:

    >>> ids, mask = torch.tensor([[1, 2, 3]]), torch.tensor([[True, True, False]])
    >>> cross_entropy(torch.zeros(1, 3, 4), ids, mask).round(decimals=4).tolist()
    [2.7726]
    """
    sums = torch.zeros(len(ids), dtype=torch.float64, device=logits.device)
    for texts, places in _chunks(mask):
        logs = logits[texts, places].float().log_softmax(-1)
        losses = -logs.gather(1, ids[texts, places + 1, None]).squeeze(1)
        sums.index_add_(0, texts, losses.double())
    return sums


def kl(clean: Tensor, other: Tensor, mask: Tensor) -> Tensor:
    """Sum KL(clean || other) of the next-token distributions of each text, in nats.

    Args:
        clean: (text, pos, vocab) logits of the untouched model.
        other: (text, pos, vocab) logits to compare.
        mask: (text, pos) bool from `predictions`.

    Returns:
        (text,) float64.

    From a coin that always falls on one side to a fair one it is ln 2:

    >>> sure = torch.tensor([[[0.0, -torch.inf]]])
    >>> kl(sure, torch.zeros(1, 1, 2), torch.tensor([[True]])).round(decimals=4).tolist()
    [0.6931]
    """
    sums = torch.zeros(len(mask), dtype=torch.float64, device=clean.device)
    for texts, places in _chunks(mask):
        logs = clean[texts, places].float().log_softmax(-1)
        others = other[texts, places].float().log_softmax(-1)
        # xlogy-like: exp(-inf) * (-inf - ...) would be NaN where the clean model excludes a token.
        terms = torch.where(logs > -torch.inf, logs.exp() * (logs - others), 0.0)
        sums.index_add_(0, texts, terms.sum(-1, dtype=torch.float64))
    return sums


def _chunks(mask: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    texts, places = mask.nonzero(as_tuple=True)
    yield from zip(texts.split(_ROWS), places.split(_ROWS), strict=True)


@dataclass(frozen=True)
class BehaviourSums:
    """Sums per text over the predictions that count; all arrays are (text,) float64.

    Args:
        tokens: predictions counted.
        clean: cross-entropy of the untouched model.
        spliced: with the reconstruction at the site.
        mean_ablated: with the site's mean at the site.
        zero_ablated: with zeros at the site.
        kl: KL from clean to spliced.
        groups: the same sums over the predictions made at the tokens of one group. `first` and
            `ordinary` share out those that count. `special` ones are counted nowhere else: such a
            token keeps its activation, but reads what is spliced in before it.
    """

    tokens: Floats
    clean: Floats
    spliced: Floats
    mean_ablated: Floats
    zero_ablated: Floats
    kl: Floats
    groups: Mapping[Group, BehaviourSums] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, Floats]:
        """All but the groups, by name."""
        return {name: getattr(self, name) for name in _COLUMNS}

    def take(self, texts: NDArray[np.int64] | NDArray[np.bool_]) -> BehaviourSums:
        """Return the sums of some texts, or of some several times."""
        taken: dict[str, Any] = {name: column[texts] for name, column in self.columns.items()}
        taken["groups"] = {name: each.take(texts) for name, each in self.groups.items()}
        return BehaviourSums(**taken)


def finish(sums: BehaviourSums, seed: int) -> list[Estimate]:
    """Return cross-entropies, KL and the share of the damage that the reconstruction avoids.

    `ce_recovered = (CE_ablated - CE_spliced) / (CE_ablated - CE_clean)`, with mean ablation;
    `ce_recovered.zero` with zero ablation. 1 is a perfect splice, 0 as bad as the ablation.
    Where ablating does no harm beyond three standard errors there is nothing to recover, and the
    share is `undefined`.

    The value over the predictions made at each token group by itself is in each figure's details
    (`groups`), null where it is undefined there.

    Args:
        sums: per-text sums; texts without a prediction are left out.
        seed: of the bootstrap over texts.

    Returns:
        Estimates; cross-entropies and KL in nats per token, lower is better for all but the shares.

    Two texts of ten tokens; 1 nat each untouched, 2 spliced, 5 and 9 ablated:

    >>> one = np.full(2, 10.0)
    >>> sums = BehaviourSums(one, one, 2 * one, 5 * one, 9 * one, kl=one)
    >>> found = {each.metric: each.value for each in finish(sums, seed=0)}
    >>> found["ce_spliced"], found["ce_recovered"], found["ce_recovered.zero"]
    (2.0, 0.75, 0.875)
    """
    told: dict[str, dict[str, object]] = {}
    for group, own in sums.groups.items():
        tokens = int(own.tokens.sum())
        for each in _figures(own, seed) if tokens else []:
            told.setdefault(each.metric, {})[group] = {"tokens": tokens, "value": each.value}
    return [
        replace(each, details={**each.details, "groups": told[each.metric]})
        if each.metric in told
        else each
        for each in _figures(sums, seed)
    ]


def _figures(sums: BehaviourSums, seed: int) -> list[Estimate]:
    kept = sums.tokens > 0
    named = {name: np.asarray(column, np.float64)[kept] for name, column in sums.columns.items()}
    texts, tokens = int(kept.sum()), named["tokens"]
    resamples = resample(texts, generator(seed, "behaviour"))
    n = {"texts": texts, "tokens": int(tokens.sum())}
    return [
        *(
            ratio_estimate(metric, named[name], tokens, resamples, n=n)
            for metric, name in _PER_TOKEN.items()
        ),
        *(
            _recovered(metric, named[name], named, resamples, n)
            for metric, name in _RECOVERED.items()
        ),
    ]


def without_predictions(reason: str) -> list[Estimate]:
    """Return every figure of `finish` as not applicable, for a model that predicts no token.

    >>> {each.status for each in without_predictions("the model predicts no token")}
    {'not_applicable'}
    """
    return [not_applicable(metric, reason) for metric in (*_PER_TOKEN, *_RECOVERED)]


def _recovered(
    metric: str, ablated: Floats, named: dict[str, Floats], resamples: Resamples, n: dict[str, int]
) -> Estimate:
    damage, tokens = ablated - named["clean"], named["tokens"].sum()
    if len(damage) < 2:
        return undefined(metric, f"{len(damage)} texts with a prediction: at least 2 are needed")
    per_token = float(damage.sum() / tokens)
    se, _ = spread(resamples.sums(damage[:, None])[:, 0] / tokens)
    details = {"damage": per_token, "damage_se": se}
    if se is None or per_token <= MIN_STANDARD_ERRORS * se:
        return undefined(
            metric,
            f"ablating the site costs {per_token:.3g} nats per token "
            f"(standard error {0 if se is None else se:.2g}): nothing to recover, "
            "the site may not matter for these texts",
            details=details,
        )
    return ratio_estimate(
        metric, ablated - named["spliced"], damage, resamples, n=n, details=details
    )
