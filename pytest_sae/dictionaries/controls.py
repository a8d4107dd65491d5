"""Dictionaries that are worse than the one under test by construction: a metric must see it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo
from pytest_sae.dictionaries.changed import ChangedDictionary
from pytest_sae.errors import DictionaryError

_PIECE = 256  # tokens encoded at once
_TOKENS = 2048  # enough for the quantile; bounds the (token, d_sae) matrix


def permuted_decoder(dictionary: Dictionary, seed: int) -> ChangedDictionary:
    """Return the dictionary with its decoder rows shuffled among the latents.

    The latents are the same to the bit, so probing must not change; everything that decodes
    (scr, tpp, cross-entropy) must collapse. What no latent writes stays as it is.

    Args:
        dictionary: with an affine decoder.
        seed: of the order.

    Raises:
        DictionaryError: its decoder is not affine.
    """
    rows = dictionary.decoder_rows
    if rows is None:
        raise DictionaryError(
            f"{dictionary.info.source} ({dictionary.info.family}) has no fixed decoder rows to "
            "permute. Expected an affine decoder: leave this control out for it."
        )
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return ChangedDictionary(
        dictionary,
        replace(dictionary.info, family="control.permuted_decoder"),
        _fingerprint("permuted_decoder", dictionary.fingerprint, seed),
        rows=rows[order.to(rows.device)],
    )


def best_k(dictionary: Dictionary, x: Tensor, k: int) -> Dictionary:
    """Return the dictionary with all but its k most used latents cut.

    The use of a latent is what it writes, `sum over tokens |z_j| |d_j|`; where the decoder is not
    affine, `sum |z_j|`. What is left reconstructs what is frequent and has lost the rest.

    Args:
        dictionary: of any family.
        x: (token, d_in) activations of the site that it reads.
        k: latents to keep, fewer than are alive.

    Raises:
        DictionaryError: as many latents as are alive, or more: nothing would be cut.
    """
    use = _use(dictionary, x)
    alive = int((use > 0).sum())
    if not 0 < k < alive:
        raise DictionaryError(
            f"{dictionary.info.source} has {alive} latents that fire on these texts: keeping {k} "
            "of them cuts nothing, or all. Expected a number below."
        )
    chosen = use.argsort(descending=True, stable=True)[:k].sort().values
    kept = torch.zeros(dictionary.d_sae, device=dictionary.device)
    kept[chosen] = 1
    name = _fingerprint("best_k", f"{dictionary.fingerprint} {chosen.tolist()}", k)
    info = replace(dictionary.info, family="control.best_k", k=None)
    return ChangedDictionary(dictionary, info, name, encode=only(dictionary, kept))


def only(dictionary: Dictionary, kept: Tensor) -> Callable[[Tensor], Tensor]:
    """Return its encoder with the other latents always silent; each keeps its number.

    Args:
        dictionary: encodes.
        kept: (d_sae,), 1 for latents that stay, 0 for the others.
    """

    def encode(x: Tensor) -> Tensor:
        z = dictionary.encode(x)
        return z * kept.to(z.dtype)

    return encode


def alive(dictionary: Dictionary, x: Tensor) -> int:
    """Return how many latents fire on some tokens.

    Args:
        dictionary: encodes them.
        x: (token, d_in) activations.

    Returns:
        0 to d_sae.
    """
    return int((_use(dictionary, x) > 0).sum())


def _use(dictionary: Dictionary, x: Tensor) -> Tensor:
    """(d_sae,) float64, in pieces: how much each latent writes over all tokens."""
    use = torch.zeros(dictionary.d_sae, dtype=torch.float64, device=dictionary.device)
    with torch.no_grad():
        for piece in x.to(dictionary.device, dictionary.dtype).split(_PIECE):
            use += dictionary.encode(piece).abs().sum(0, dtype=torch.float64)
    rows = dictionary.decoder_rows
    return use if rows is None else use * rows.double().norm(dim=1)


def random_matched(
    like: Dictionary | tuple[int, int], x: Tensor, l0: float, seed: int, y: Tensor | None = None
) -> AffineDictionary:
    """Return a random dictionary that has the given mean L0 on x.

    Encoder and decoder rows are independent and uniform on the unit sphere, the bias is the mean
    of what is written, and one threshold serves all latents: z = p · [p > threshold],
    p = (x - mean) · rows.

    Args:
        like: the dictionary whose shape and site it takes, or (d_in, d_sae).
        x: (token, d_in) activations of the site.
        l0: mean number of active latents per token, above 0 and at most d_sae.
        seed: of the rows.
        y: (token, d_out) what it writes in place of; x itself by default.

    Raises:
        DictionaryError: an L0 that d_sae latents cannot have, or a transcoder without y, as its
            output has another mean and perhaps another width than x.
    """
    if (
        y is None
        and not isinstance(like, tuple)
        and like.info.hook_out not in (None, like.info.hook_in)
    ):
        raise DictionaryError(
            f"{like.info.source} reads {like.info.hook_in} and writes {like.info.hook_out}. "
            "Expected what it writes in place of beside what it reads."
        )
    d_in, d_sae = like if isinstance(like, tuple) else (like.d_in, like.d_sae)
    if not 0 < l0 <= d_sae:
        raise DictionaryError(f"A random dictionary of {d_sae} latents cannot have L0 {l0:g}.")
    generator = torch.Generator().manual_seed(seed)
    y = x if y is None else y
    reads, writes = (
        normalize(torch.randn(d_sae, width, generator=generator), dim=1).to(x)
        for width in (d_in, y.shape[1])
    )
    mean = x.mean(dim=0)
    threshold = _threshold((_spread(x) - mean) @ reads.T, l0)

    def encode(tokens: Tensor) -> Tensor:
        before = (tokens.to(reads.dtype) - mean) @ reads.T
        return before * (before > threshold)

    info = DictionaryInfo(str(like), "control.random", None, None, None)
    if not isinstance(like, tuple):
        info = replace(like.info, family="control.random", k=None, prefixes=())
    name = _fingerprint("random_matched", f"{d_in} {d_sae} {threshold!r} {_sum(mean)}", seed)
    return AffineDictionary(encode, writes, y.mean(dim=0), reads, info, name)


def random_tied(like: Dictionary, x: Tensor, l0: float, seed: int) -> AffineDictionary:
    """Return a random dictionary that writes where it reads, as an SAE does before training.

    Otherwise `random_matched`. What a latent reads is there to be taken away, so that it does more
    under ablation than rows that are drawn apart.

    Args:
        like: the dictionary whose shape and site it takes.
        x: (token, d_in) activations of the site.
        l0: mean number of active latents per token, above 0 and at most d_sae.
        seed: of the rows.

    Raises:
        DictionaryError: as `random_matched`.
    """
    apart = random_matched(like, x, l0, seed)
    return _rewritten(apart, apart.encoder_rows, "control.random_tied", f"tied {seed}")


def redrawn_decoder(control: AffineDictionary, seed: int) -> AffineDictionary:
    """Return a random dictionary with other random rows under the same latents.

    Another draw of it that costs no encode; how much a figure moves between draws is part of what
    is not known about it.

    Args:
        control: from `random_matched`.
        seed: of the new rows.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(control.d_sae, control.d_out, generator=generator)
    return _rewritten(control, normalize(rows, dim=1), control.info.family, f"redrawn {seed}")


def _rewritten(
    control: AffineDictionary, rows: Tensor | None, family: str, how: str
) -> AffineDictionary:
    assert rows is not None
    bias = control.const(rows.new_zeros(1, control.d_in))[0]
    return AffineDictionary(
        control.encode,
        rows.to(control.decoder_rows),
        bias,
        control.encoder_rows,
        replace(control.info, family=family),
        hashlib.sha256(f"{how} {control.fingerprint}".encode()).hexdigest(),
    )


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
