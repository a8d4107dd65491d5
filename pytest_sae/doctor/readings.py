"""Other readings of the same weights and activations: what would be right if one thing were wrong.

readings(dictionary, x, y, l0) -> Iterator[Reading]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pytest_sae.doctor.figures import explained

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_sae.dictionaries.base import Dictionary

Rebuild = Callable[[Tensor], Tensor]

_PIECE = 256  # tokens at once
_SEARCHED = 512  # tokens that a factor is looked for on
_OCTAVES = range(-10, 11)
_STEPS = 12  # of the search between two octaves
_SHRUNK = 1.25  # times what is unexplained at the best factor: the usual one is as good
_FACTOR = 1.1  # a factor that is nearer to 1 is none
_COUNT = 1.5  # so many times the declared L0 is another L0
_GRID = 40  # thresholds that are tried where no L0 is declared


@dataclass(frozen=True)
class Reading:
    """What a dictionary reconstructs if one thing about it is read otherwise.

    Args:
        cause: what would be wrong with the dictionary as it stands.
        what: how it is read here.
        rebuild: (token, d_in) to (token, d_out).
        encode: (token, d_in) to latents (token, d_sae).
        settings: of --sae that say so, where there are any.
        advice: what to do where there are none.
    """

    cause: str
    what: str
    rebuild: Rebuild
    encode: Rebuild
    settings: Mapping[str, str] = field(default_factory=dict)
    advice: str = ""


def applied(rebuild: Rebuild, x: Tensor) -> Tensor:
    """Return what is made of x, some tokens at a time.

    Args:
        rebuild: what makes it.
        x: (token, d_in).
    """
    return torch.cat([rebuild(piece) for piece in x.split(_PIECE)])


def readings(dictionary: Dictionary, x: Tensor, y: Tensor, l0: float | None) -> Iterator[Reading]:
    """Give every reading that these weights have room for.

    Args:
        dictionary: as it is loaded.
        x: (token, d_in) activations that it reads.
        y: (token, d_out) activations that it is to reconstruct.
        l0: declared mean number of active latents, None if nothing is declared.
    """
    yield from _permuted(dictionary)
    yield from _thresholds(dictionary, x, y, l0)
    yield from _written_scale(dictionary, x, y)
    if dictionary.info.hook_out in (None, dictionary.info.hook_in):
        yield from _site_scale(dictionary, x, y)
        yield from _read_scale(dictionary, x, y)


def _site_scale(dictionary: Dictionary, x: Tensor, y: Tensor) -> Iterator[Reading]:
    """Trained on activations that were multiplied by a factor."""

    def of(factor: float) -> Rebuild:
        return lambda tokens: dictionary.reconstruct(tokens * factor) / factor

    factor = _best(of, x, y)
    usual = math.sqrt(x.shape[1]) / float(x.norm(dim=1).mean())
    # By which sae_lens and others normalise; an L1 penalty shrinks codes, so that more looks best.
    if 1 - _quality(of(usual), x, y) <= _SHRUNK * (1 - _quality(of(factor), x, y)):
        factor = usual
    if _is_factor(factor):
        yield Reading(
            "un-folded norm",
            f"activations times {factor:.3g} before it, and divided by that after it"
            + (" (their mean norm becomes √d)" if factor == usual else ""),
            of(factor),
            lambda tokens: dictionary.encode(tokens * factor),
            {"normalize_activations": "expected_average_only_in", "norm_factor": f"{factor:.4g}"},
            "divide b_dec, b_enc and thresholds by the factor, and save again",
        )


def _read_scale(dictionary: Dictionary, x: Tensor, y: Tensor) -> Iterator[Reading]:
    """Its encoder's rows, or what is encoded, were multiplied by a factor."""

    def grown(tokens: Tensor, factor: float) -> Tensor:
        const = dictionary.const(tokens)
        return const + (tokens - const) * factor

    def of(factor: float) -> Rebuild:
        return lambda tokens: dictionary.reconstruct(grown(tokens, factor))

    factor = _best(of, x, y)
    if _is_factor(factor):
        yield Reading(
            "scaled",
            f"its encoder's rows times {factor:.3g}",
            of(factor),
            lambda tokens: dictionary.encode(grown(tokens, factor)),
            advice=f"multiply W_enc by {factor:.3g}, and save again",
        )


def _written_scale(dictionary: Dictionary, x: Tensor, y: Tensor) -> Iterator[Reading]:
    """Its decoder's rows, or its latents, were multiplied by a factor."""
    const = applied(dictionary.const, x).cpu().double()
    written = applied(dictionary.reconstruct, x).cpu().double() - const
    power = float(written.pow(2).sum())
    factor = float(((y.cpu().double() - const) * written).sum()) / power if power else 0.0
    if factor > 0 and _is_factor(factor):
        yield Reading(
            "scaled",
            f"what its latents write times {factor:.3g}",
            lambda x: (
                dictionary.const(x) + (dictionary.reconstruct(x) - dictionary.const(x)) * factor
            ),
            dictionary.encode,
            advice=f"multiply W_dec by {factor:.3g}, and save again",
        )


def _permuted(dictionary: Dictionary) -> Iterator[Reading]:
    """Its decoder's rows stand in another order than its encoder's."""
    reads, writes = dictionary.encoder_rows, dictionary.decoder_rows
    if reads is None or writes is None or reads.shape != writes.shape:
        return
    order = _nearest(reads, writes)
    own = torch.arange(len(order), device=order.device)
    moved = int((order != own).sum())
    if 2 * moved < len(order):
        return
    yield Reading(
        "permuted decoder",
        f"each latent with the decoder row nearest to its encoder row ({moved} of {len(order)} "
        "are another latent's)",
        lambda x: dictionary.const(x) + dictionary.encode(x).to(writes.dtype) @ writes[order],
        dictionary.encode,
        advice="save the decoder's rows again in the order of the encoder's",
    )


def _thresholds(
    dictionary: Dictionary, x: Tensor, y: Tensor, l0: float | None
) -> Iterator[Reading]:
    """Latents that should be silent below a threshold are not."""
    some = _some(x)
    z = torch.cat([dictionary.encode(piece) for piece in some.split(_PIECE)])
    measured = float((z != 0).sum(1).double().mean())
    if l0 is not None and measured < _COUNT * l0:
        return
    counts = [l0] if l0 is not None else [measured * 0.8**step for step in range(1, _GRID)]
    ranked = z.flatten().sort(descending=True).values
    cuts = [float(ranked[min(round(count * len(z)), len(ranked) - 1)]) for count in counts]

    everything = torch.arange(dictionary.d_sae, device=z.device)

    def encode(tokens: Tensor, cut: float) -> Tensor:
        z = dictionary.encode(tokens)
        return z * (z > cut)

    def of(cut: float) -> Rebuild:
        return lambda tokens: (
            dictionary.const(tokens)
            + dictionary.contribution(tokens, encode(tokens, cut), everything)
        )

    cut = max(cuts, key=lambda each: _quality(of(each), x, y))
    active = float((z > cut).sum(1).double().mean())
    if cut > 0 and measured > _COUNT * active:
        yield Reading(
            "threshold lost",
            f"latents silent below {cut:.3g}, which leaves {active:.1f} of {measured:.1f} active",
            of(cut),
            lambda tokens: encode(tokens, cut),
            advice=f"set `threshold` to {cut:.3g} (or as training had it), and save again",
        )


def _nearest(reads: Tensor, writes: Tensor) -> Tensor:
    """(latent,): for each encoder row the decoder row of the largest cosine."""
    writes = normalize(writes, dim=1)
    pieces = normalize(reads, dim=1).split(_PIECE)
    return torch.cat([(piece @ writes.T).argmax(1) for piece in pieces])


def _best(of: Callable[[float], Rebuild], x: Tensor, y: Tensor) -> float:
    """The factor that explains most: the best octave, and a search around it."""

    def quality(octave: float) -> float:
        return _quality(of(2.0**octave), x, y)

    middle = float(max(_OCTAVES, key=quality))
    low, high, golden = middle - 1, middle + 1, (math.sqrt(5) - 1) / 2
    for _ in range(_STEPS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if quality(left) > quality(right) else (left, high)
    found = (low + high) / 2
    return float(2.0 ** (found if quality(found) > quality(middle) else middle))


def _quality(rebuild: Rebuild, x: Tensor, y: Tensor) -> float:
    return explained(_some(y), applied(rebuild, _some(x)))


def _some(x: Tensor) -> Tensor:
    return x[:: -(-len(x) // _SEARCHED)]


def _is_factor(factor: float) -> bool:
    return max(factor, 1 / factor) > _FACTOR if factor else False
