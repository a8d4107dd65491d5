"""What a model says next when one latent's direction is added to the stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import Protocol

import torch
from torch import Tensor

from pytest_sae.activations.behaviour import with_stream
from pytest_sae.activations.pieces import pieces, readable
from pytest_sae.activations.stream import ActivationBatch, TokenActivations, below, run
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.models.site import Site

Parts = list[tuple[ActivationBatch, Tensor | None]]

TARGET = 0.5  # nats
TOLERANCE = 0.1  # of the target
EVALUATIONS = 12
_STRONGEST = 16.0  # in mean norms of the activations: there the direction has replaced them
_RANGE = 2.0**-14  # of the strongest strength: the weakest that is tried
_TAIL = 12  # tokens of a prompt that are shown
_NEGLIGIBLE = 0.01  # of the largest change on its side: smaller ones are not worth naming


@dataclass(frozen=True)
class SteeringEffect:
    """What steering did to the next token of one prompt.

    Args:
        prompt: its last tokens as text.
        raised: tokens whose probability rose most, the most first; none that rose by less than
            1 % of the first.
        lowered: tokens whose probability fell most, likewise.
    """

    prompt: str
    raised: tuple[str, ...]
    lowered: tuple[str, ...]


@dataclass(frozen=True)
class Steered:
    """One latent's effects at a strength matched in Kullback-Leibler divergence.

    Args:
        strength: length of the vector added at every valid token.
        kl: mean over the prompts of KL(clean || steered) of the next token, in nats.
        effects: of each prompt, in their order.
        kls: (prompt,) the divergences behind the mean.
        reached: whether `kl` is within 10 % of what was asked for. A latent that changes too
            little at any strength, or jumps over the target, gets the nearest that was found.
    """

    strength: float
    kl: float
    effects: tuple[SteeringEffect, ...]
    kls: tuple[float, ...]
    reached: bool


class Source(Protocol):
    """Where a latent's direction and the prompts' activations come from: `measure.Latents`."""

    dictionary: Dictionary

    @property
    def written_site(self) -> Site:
        """Where the dictionary's reconstruction goes."""

    def tokens(self, texts: Sequence[str]) -> TokenActivations:
        """Return the activations of distinct texts at the site that is read."""

    def written_rows(self, texts: Sequence[str]) -> Tensor:
        """Return what one unit of each latent writes, (d_sae, d_out)."""


def steer(
    latents: Source, index: int, prompts: Sequence[str], target: float = TARGET, count: int = 10
) -> Steered:
    """Add a latent's direction to the stream and see which next tokens gain and lose.

    `x' = x + s d / |d|` at every valid token of the site that the dictionary writes to; all else
    stays, the dictionary's error included. The strength s is found by bisection of log s, so that
    the mean KL over the prompts is within 10 % of `target`, in 12 runs of the layers above the
    site at most. Effects of different latents are comparable then (Paulo et al. 2024).

    Args:
        latents: the dictionary's.
        index: which latent.
        prompts: distinct texts, a few.
        target: mean KL in nats.
        count: tokens shown on each side.

    Returns:
        The strength that was found, the KL that it reaches, and the tokens that gain and lose.
    """
    stream = replace(latents.tokens(prompts), site=latents.written_site)
    parts = activations(stream)
    direction = _direction(latents, index, prompts)
    clean = next_log_probabilities(stream, parts)
    norm = float(direction.norm())
    found = _Found(0.0, clean, clean.new_zeros(len(clean)))
    if norm > 0:
        found = _matched(stream, parts, direction / norm, clean, target)
    mean = float(found.kl.mean())
    return Steered(
        found.strength,
        mean,
        _effects(stream, found.steered.exp() - clean.exp(), count),
        tuple(found.kl.tolist()),
        abs(mean - target) <= TOLERANCE * target,
    )


def activations(stream: TokenActivations) -> Parts:
    """Return the batches of a few prompts, each with the stream below the site if it is needed."""
    under = below(stream)
    run([stream] if under is None else [stream, under])
    return list(with_stream(stream, under))


def next_log_probabilities(
    stream: TokenActivations, parts: Parts, added: Tensor | None = None
) -> Tensor:
    """Return (text, vocab) float64 where the model is: log-probabilities of the next token.

    Args:
        stream: the texts at the site that is written.
        parts: its `activations`.
        added: (d,) is added to the activation of every valid token; None for the clean model.
    """
    model = stream.model
    shape = (len(stream.texts), model.vocab)
    found = torch.zeros(shape, dtype=torch.float64, device=model.device)
    for part, residual in parts:
        x = part.x if added is None else _added(part, added)
        with torch.no_grad():
            logits = model.next_logits_from(part.batch, stream.site, x, residual)
        stream.store.work.spliced("steer")
        found[part.batch.rows] = logits.double().log_softmax(-1)
    return found


def kl(clean: Tensor, steered: Tensor) -> Tensor:
    """Return KL(clean || steered) of each row of log-probabilities.

    Args:
        clean: (prompt, vocab) log-probabilities.
        steered: (prompt, vocab) log-probabilities.

    Returns:
        (prompt,) nats, 0 or more.
    """
    return (clean.exp() * (clean - steered)).sum(-1).clamp_min(0)


@dataclass(frozen=True, eq=False)
class _Found:
    strength: float
    steered: Tensor
    kl: Tensor


def _matched(
    stream: TokenActivations, parts: Parts, unit: Tensor, clean: Tensor, target: float
) -> _Found:
    high = log(_STRONGEST * _mean_norm(parts))
    low = high + log(_RANGE)
    strength, tried = exp(high), []
    for _ in range(EVALUATIONS):
        steered = next_log_probabilities(stream, parts, strength * unit)
        tried.append(_Found(strength, steered, kl(clean, steered)))
        reached = float(tried[-1].kl.mean())
        if abs(reached - target) <= TOLERANCE * target or (len(tried) == 1 and reached < target):
            break
        low, high = (log(strength), high) if reached < target else (low, log(strength))
        strength = exp((low + high) / 2)
    return min(tried, key=lambda found: abs(float(found.kl.mean()) - target))


def _mean_norm(parts: Parts) -> float:
    norms = torch.cat([part.x_valid.double().norm(dim=-1) for part, _ in parts])
    return float(norms.mean())


def _direction(latents: Source, index: int, prompts: Sequence[str]) -> Tensor:
    rows = latents.dictionary.decoder_rows
    if rows is None:
        rows = latents.written_rows(prompts)
    return rows[index].detach().float().cpu()


def _added(part: ActivationBatch, vector: Tensor) -> Tensor:
    return torch.where(part.batch.valid[..., None], (part.x + vector).to(part.x), part.x)


def _effects(stream: TokenActivations, change: Tensor, count: int) -> tuple[SteeringEffect, ...]:
    tokenizer = stream.model.tokenizer
    known = min(change.shape[1], len(tokenizer))  # the rest only fills up the matrix
    shown = pieces(stream.texts, tokenizer, stream.context, stream.prepend_bos)
    return tuple(
        SteeringEffect(
            "".join(own[-_TAIL:]),
            readable(_most(row[:known], count), tokenizer),
            readable(_most(-row[:known], count), tokenizer),
        )
        for own, row in zip(shown, change, strict=True)
    )


def _most(change: Tensor, count: int) -> list[int]:
    values, tokens = change.topk(min(count, len(change)))
    return [int(token) for token in tokens[values > _NEGLIGIBLE * values[0].clamp_min(0)]]
