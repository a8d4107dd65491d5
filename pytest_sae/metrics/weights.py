"""What the weights alone say: directions and norms of a dictionary's rows.

weight_estimates(decoder, encoder) -> list[Estimate]
largest_cosines(rows) -> (row,)
"""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_sae.bootstrap import Floats, mean_estimate
from pytest_sae.stats import Estimate, not_applicable

_SCORES = 2**24  # cosines held at once while looking for the largest (64 MB in float32)


def weight_estimates(
    decoder: Tensor | None,
    encoder: Tensor | None,
    why_not: str = "the dictionary has no encoder rows",
) -> list[Estimate]:
    """Return encoder_decoder_cosine, max_decoder_cosine and decoder_norm, means over latents.

    Rows of norm zero have no direction: they are left out of the cosines and counted in details.

    Args:
        decoder: (d_sae, d_out) what one unit of each latent writes; None if it has no such rows.
        encoder: (d_sae, d_in) what each latent reads; None, or another width than the decoder's
            (a transcoder), makes their cosine not applicable.
        why_not: the reason given where `encoder` is None.

    Returns:
        Estimates with normal intervals over latents.
    """
    if decoder is None:
        reason = "the dictionary has no fixed decoder rows"
        return [
            not_applicable(metric, reason)
            for metric in ("encoder_decoder_cosine", "max_decoder_cosine", "decoder_norm")
        ]
    norms = torch.linalg.vector_norm(decoder, dim=1, dtype=torch.float64)
    silent = {"zero_rows": int((norms == 0).sum())}
    return [
        _encoder_cosine(decoder, encoder, silent, why_not),
        mean_estimate(
            "max_decoder_cosine", _array(largest_cosines(decoder[norms > 0])), "latents", silent
        ),
        mean_estimate("decoder_norm", _array(norms), "latents", silent),
    ]


def largest_cosines(rows: Tensor) -> Tensor:
    """Return each row's largest cosine with another row, (row,) float32 or wider.

    In blocks of rows: never more than 2^24 cosines at once, whatever the number of latents.

    Args:
        rows: (row, d), none of them zero; a single row has no other, and gives an empty result.
    """
    if len(rows) < 2:
        return rows.new_zeros(0)
    unit = torch.nn.functional.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)))
    block, largest = max(1, _SCORES // len(unit)), []
    for start in range(0, len(unit), block):
        cosines = unit[start : start + block] @ unit.T
        own = torch.arange(len(cosines), device=rows.device)
        cosines[own, own + start] = -torch.inf
        largest.append(cosines.amax(1))
    return torch.cat(largest).clamp(-1, 1)


def _encoder_cosine(
    decoder: Tensor, encoder: Tensor | None, silent: dict[str, int], why_not: str
) -> Estimate:
    metric = "encoder_decoder_cosine"
    if encoder is None:
        return not_applicable(metric, why_not)
    if encoder.shape != decoder.shape:
        return not_applicable(metric, "encoder and decoder rows live in spaces of other widths")
    norms = [
        torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64) for rows in (encoder, decoder)
    ]
    inner = (encoder.double() * decoder.double()).sum(1)
    kept = (norms[0] > 0) & (norms[1] > 0)
    return mean_estimate(metric, _array((inner / norms[0] / norms[1])[kept]), "latents", silent)


def _array(values: Tensor) -> Floats:
    array: Floats = values.detach().double().cpu().numpy()
    return array
