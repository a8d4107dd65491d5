"""What the weights alone say: directions and norms of a dictionary's rows.

weight_estimates(decoder, encoder) -> list[Estimate]
encoder_estimate(encoder) -> Estimate
largest_cosines(rows) -> (row,)
"""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_sae.metrics.row_sample import spread
from pytest_sae.metrics.row_sums import inner, norms
from pytest_sae.numbers.bootstrap import Floats, mean_estimate
from pytest_sae.numbers.estimate import Estimate, not_applicable

_SCORES = 2**24  # cosines held at once while looking for the largest (64 MB in float32)
COMPARED = 2**30  # cosines in all: a minute of one thread
_NAMED = 100  # pruned latents that are told by number


def weight_estimates(
    decoder: Tensor | None,
    encoder: Tensor | None,
    why_not: str = "the dictionary has no encoder rows",
) -> list[Estimate]:
    """Return encoder_decoder_cosine, max_decoder_cosine and decoder_norm, means over latents.

    Rows of norm zero have no direction: they are left out of the cosines and counted in details.
    Above 32,768 latents max_decoder_cosine is the mean over some of them (`row_sample.spread`),
    each compared with all others: no more than 2^30 cosines are computed. Details say how many.

    Args:
        decoder: (d_sae, d_out) what one unit of each latent writes; None if it has no such rows.
        encoder: (d_sae, d_in) what each latent reads; None, or another width than the decoder's
            (a transcoder), makes their cosine not applicable.
        why_not: the reason given where `encoder` is None.

    Returns:
        Estimates with normal intervals over latents.

    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    >>> [(each.metric, each.value) for each in weight_estimates(rows, rows)]
    [('encoder_decoder_cosine', 1.0), ('max_decoder_cosine', 0.0), ('decoder_norm', 2.0)]
    """
    if decoder is None:
        reason = "the dictionary has no fixed decoder rows"
        return [
            not_applicable(metric, reason)
            for metric in ("encoder_decoder_cosine", "max_decoder_cosine", "decoder_norm")
        ]
    lengths = norms(decoder)
    silent: dict[str, object] = {"zero_rows": int((lengths == 0).sum())}
    pruned = (lengths == 0).nonzero()[:, 0].tolist()
    named = {**silent, "pruned_latents": pruned[:_NAMED]} if pruned else silent
    rows = decoder[lengths > 0] if pruned else decoder
    return [
        _encoder_cosine(decoder, encoder, silent, why_not),
        _largest_cosine("max_decoder_cosine", rows, silent),
        mean_estimate("decoder_norm", _array(lengths), "latents", named),
    ]


def encoder_estimate(encoder: Tensor | None) -> Estimate:
    """Return max_encoder_cosine: the mean of each encoder row's largest cosine with another.

    Args:
        encoder: (d_sae, d_in) what each latent reads; None if there are no such rows. Rows of
            norm zero are left out and counted in details.

    Returns:
        An estimate with a normal interval over latents; lower means that latents read more
        different directions.

    Two of three rows point the same way, `(1 + 1 + 0) / 3`:

    >>> round(encoder_estimate(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])).value, 4)
    0.6667
    """
    if encoder is None:
        return not_applicable("max_encoder_cosine", "the dictionary has no encoder rows")
    there = norms(encoder) > 0
    silent: dict[str, object] = {"zero_rows": int((~there).sum())}
    rows = encoder if there.all() else encoder[there]
    return _largest_cosine("max_encoder_cosine", rows, silent)


def _largest_cosine(metric: str, rows: Tensor, silent: dict[str, object]) -> Estimate:
    some = spread(rows, COMPARED // max(1, len(rows)))
    compared = silent if len(some) == len(rows) else silent | {"compared_rows": len(some)}
    return mean_estimate(metric, _array(largest_cosines(rows, some)), "latents", compared)


def largest_cosines(rows: Tensor, some: Tensor | None = None) -> Tensor:
    """Return each row's largest cosine with another row, (row,) float32 or wider.

    In blocks of rows: never more than 2^24 cosines at once, whatever the number of latents.

    Args:
        rows: (row, d), none of them zero; a single row has no other, and gives an empty result.
        some: rising indices of the rows that are asked for, None for all.

    Returns:
        -1 to 1, in the order of the rows.

    >>> largest_cosines(torch.tensor([[1.0, 0.0], [0.0, 3.0], [2.0, 0.0]])).tolist()
    [1.0, 0.0, 1.0]
    """
    if len(rows) < 2:
        return rows.new_zeros(0)
    unit = torch.nn.functional.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)))
    asked = torch.arange(len(unit)) if some is None else some
    largest = []
    for block in asked.to(rows.device).split(max(1, _SCORES // len(unit))):
        cosines = unit[block] @ unit.T
        cosines[torch.arange(len(block), device=rows.device), block] = -torch.inf
        largest.append(cosines.amax(1))
    return torch.cat(largest).clamp(-1, 1)


def _encoder_cosine(
    decoder: Tensor, encoder: Tensor | None, silent: dict[str, object], why_not: str
) -> Estimate:
    metric = "encoder_decoder_cosine"
    if encoder is None:
        return not_applicable(metric, why_not)
    if encoder.shape != decoder.shape:
        return not_applicable(metric, "encoder and decoder rows live in spaces of other widths")
    read, written = norms(encoder), norms(decoder)
    kept = (read > 0) & (written > 0)
    cosines = inner(encoder, decoder) / read / written
    return mean_estimate(metric, _array(cosines[kept]), "latents", silent)


def _array(values: Tensor) -> Floats:
    return values.detach().double().cpu().numpy()
