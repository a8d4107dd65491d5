"""Dictionaries that are worse than the one under test by construction: a metric must see it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo
from pytest_sae.errors import DictionaryError

_TOKENS = 2048  # enough for the quantile; bounds the (token, d_sae) matrix


class _Permuted(AffineDictionary):
    """Shuffled rows above the whole constant part, which may pass its input on (a skip)."""

    def __init__(self, of: Dictionary, rows: Tensor, info: DictionaryInfo, name: str) -> None:
        none = torch.zeros(1, of.d_in, dtype=rows.dtype, device=rows.device)
        super().__init__(of.encode, rows, of.const(none)[0], of.encoder_rows, info, name)
        self._of = of

    def reconstruct(self, x: Tensor) -> Tensor:
        """(token, d_in) to (token, d_out)."""
        return self.const(x) + self.encode(x) @ self._rows

    def const(self, x: Tensor) -> Tensor:
        """(token, d_out): that of the dictionary itself."""
        return self._of.const(x)


def permuted_decoder(dictionary: Dictionary, seed: int) -> AffineDictionary:
    """Return the dictionary with its decoder rows shuffled among the latents.

    The latents are the same to the bit, so probing must not change; everything that decodes
    (scr, tpp, cross-entropy) must collapse. What no latent writes stays as it is.

    Raises:
        DictionaryError: its decoder is not affine.
    """
    rows, reads = dictionary.decoder_rows, dictionary.encoder_rows
    if rows is None or reads is None:
        raise DictionaryError(
            f"{dictionary.info.source} ({dictionary.info.family}) has no fixed decoder rows to "
            "permute. Expected an affine decoder: leave this control out for it."
        )
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return _Permuted(
        dictionary,
        rows[order.to(rows.device)],
        replace(dictionary.info, family="control.permuted_decoder"),
        _fingerprint("permuted_decoder", dictionary.fingerprint, seed),
    )


def random_matched(
    like: Dictionary | tuple[int, int], x: Tensor, l0: float, seed: int
) -> AffineDictionary:
    """Return a random dictionary that has the given mean L0 on x.

    Encoder and decoder rows are independent and uniform on the unit sphere, the bias is the mean
    of x, and one threshold serves all latents: z = p · [p > threshold], p = (x - mean) · rows.

    Args:
        like: the dictionary whose shape and site it takes, or (d_in, d_sae).
        x: (token, d_in) activations of the site.
        l0: mean number of active latents per token, above 0 and at most d_sae.
        seed: of the rows.

    Raises:
        DictionaryError: an L0 that d_sae latents cannot have, or a transcoder, whose output has
            another mean and perhaps another width than x.
    """
    if not isinstance(like, tuple) and like.info.hook_out != like.info.hook_in:
        raise DictionaryError(
            f"{like.info.source} reads {like.info.hook_in} and writes {like.info.hook_out}. "
            "Expected a dictionary of one site: a random transcoder is no control of it."
        )
    d_in, d_sae = like if isinstance(like, tuple) else (like.d_in, like.d_sae)
    if not 0 < l0 <= d_sae:
        raise DictionaryError(f"A random dictionary of {d_sae} latents cannot have L0 {l0:g}.")
    generator = torch.Generator().manual_seed(seed)
    reads, writes = (
        normalize(torch.randn(d_sae, d_in, generator=generator), dim=1).to(x) for _ in range(2)
    )
    mean = x.mean(dim=0)
    threshold = _threshold((_spread(x) - mean) @ reads.T, l0)

    def encode(tokens: Tensor) -> Tensor:
        before = (tokens.to(reads.dtype) - mean) @ reads.T
        return before * (before > threshold)

    info = DictionaryInfo(str(like), "control.random", None, None, None)
    if not isinstance(like, tuple):
        info = replace(like.info, family="control.random", k=None)
    name = _fingerprint("random_matched", f"{d_in} {d_sae} {threshold!r} {_sum(mean)}", seed)
    return AffineDictionary(encode, writes, mean, reads, info, name)


def _spread(x: Tensor) -> Tensor:
    return x[:: -(-len(x) // _TOKENS)]


def _threshold(before: Tensor, l0: float) -> float:
    """The value that l0 of the d_sae pre-activations per token exceed, on average."""
    active = round(l0 * len(before))
    ranked = before.flatten().float().topk(min(active + 1, before.numel())).values
    return float(ranked[-1])


def _sum(mean: Tensor) -> str:
    return hashlib.sha256(mean.double().cpu().numpy().tobytes()).hexdigest()


def _fingerprint(control: str, of: str, seed: int) -> str:
    return hashlib.sha256(f"{control} {of} {seed}".encode()).hexdigest()
