"""What splicing a reconstruction into the model does to its predictions.

predictions(valid) -> mask                        # which predictions count
cross_entropy(logits, ids, mask) -> (text,)       # sums per text, float64
kl(clean_logits, logits, mask) -> (text,)
BehaviourSums(tokens, clean, spliced, mean_ablated, zero_ablated, kl)
finish(sums, seed) -> list[Estimate]
without_predictions(reason) -> list[Estimate]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pytest_sae.bootstrap import Floats, Resamples, generator, ratio_estimate, resample, spread
from pytest_sae.metrics.protocol import MIN_STANDARD_ERRORS
from pytest_sae.stats import Estimate, not_applicable, undefined

_PER_TOKEN = {
    "ce_clean": "clean",
    "ce_spliced": "spliced",
    "ce_mean_ablated": "mean_ablated",
    "ce_zero_ablated": "zero_ablated",
    "kl": "kl",
}
_RECOVERED = {"ce_recovered": "mean_ablated", "ce_recovered.zero": "zero_ablated"}
_ROWS = 512  # token positions whose log-softmax is held at once


def predictions(valid: Tensor) -> Tensor:
    """Mark the positions whose next-token prediction counts, (text, pos) bool.

    A prediction counts if it is made at a valid token, of a valid token: special tokens keep their
    activation in every variant, so what is predicted at them says nothing about the dictionary.

    Args:
        valid: (text, pos) bool, no BOS, EOS or padding.
    """
    mask = torch.zeros_like(valid)
    mask[:, :-1] = valid[:, :-1] & valid[:, 1:]
    return mask


def cross_entropy(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Sum the next-token cross-entropy of each text, in nats.

    Args:
        logits: (text, pos, vocab), any float type; log-softmax is taken in float32.
        ids: (text, pos) long.
        mask: (text, pos) bool from `predictions`, the same for every variant.

    Returns:
        (text,) float64 on the logits' device.
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
    """

    tokens: Floats
    clean: Floats
    spliced: Floats
    mean_ablated: Floats
    zero_ablated: Floats
    kl: Floats


def finish(sums: BehaviourSums, seed: int) -> list[Estimate]:
    """Return cross-entropies, KL and the share of the damage that the reconstruction avoids.

    `ce_recovered = (CE_ablated - CE_spliced) / (CE_ablated - CE_clean)`, with mean ablation;
    `ce_recovered.zero` with zero ablation. 1 is a perfect splice, 0 as bad as the ablation.
    Where ablating does no harm beyond three standard errors there is nothing to recover, and the
    share is `undefined`.

    Args:
        sums: per-text sums; texts without a prediction are left out.
        seed: of the bootstrap over texts.
    """
    kept = sums.tokens > 0
    named = {
        name: np.asarray(getattr(sums, name), np.float64)[kept]
        for name in BehaviourSums.__dataclass_fields__
    }
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
    """Return every figure of `finish` as not applicable, for a model that predicts no token."""
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
