"""Whether a square decoder lies the right way round: its shape cannot tell, its content can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.functional import normalize

from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from torch import Tensor

# Independent directions have a mean cosine of about 1 / d; trained encoder and decoder rows of an
# autoencoder have 0.3 and more.
_MARGIN = 0.1


def upright(reads: Tensor, writes: Tensor, name: str, source: str) -> None:
    """Refuse an autoencoder's decoder that agrees with its encoder only when it is transposed.

    Where d_in is not d_sae the shape tells, and nothing is done.

    Args:
        reads: (d_sae, d_in), the direction that each latent reads.
        writes: (d_sae, d_in), what each latent writes, as it is taken to be.
        name: what the file calls the decoder.
        source: what the message calls the dictionary.

    Raises:
        DictionaryError: the mean cosine of encoder and decoder rows is higher for the transpose.
    """
    if writes.shape[0] != writes.shape[1]:
        return
    own, other = (_agreement(reads, rows) for rows in (writes, writes.T))
    if other > own + _MARGIN:
        raise DictionaryError(
            f"{source}: {name} {tuple(writes.shape)} is square, and agrees with the encoder only "
            f"when it is transposed (mean cosine {other:.2f}, and {own:.2f} as it is). Expected "
            "the format's own orientation: transpose it and save again."
        )


def _agreement(reads: Tensor, writes: Tensor) -> float:
    cosines = normalize(reads.float(), dim=1) * normalize(writes.float(), dim=1)
    return float(cosines.sum(dim=1).mean())
