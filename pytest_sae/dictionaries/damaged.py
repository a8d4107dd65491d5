"""Copies of a dictionary with one thing wrong, of a known size: would a gate see it?

damaged(dictionary, "dropped_20") -> Dictionary
DAMAGES -> what each of them is, by name
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.dictionaries.changed import ChangedDictionary
from pytest_sae.dictionaries.controls import only
from pytest_sae.errors import DictionaryError, suggest

#: The setting of `--sae` that asks for one: `--sae=damage=dropped_20:PATH`.
SETTING = "damage"

Encode = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong.

    Args:
        told: what it is, for people.
        rows: what becomes of the decoder rows (d_sae, d_out), None where they stay.
        encode: what becomes of the encoder, None where it stays.
    """

    told: str
    rows: Callable[[Tensor], Tensor] | None = None
    encode: Callable[[Dictionary], Encode] | None = None


def damaged(dictionary: Dictionary, name: str) -> Dictionary:
    """Return a copy of a dictionary with one thing wrong; the same one whenever it is asked for.

    Args:
        dictionary: of any family.
        name: a key of `DAMAGES`.

    Raises:
        DictionaryError: an unknown name, or decoder rows to damage where there are none.
    """
    if name not in DAMAGES:
        raise DictionaryError(
            f"there is no damage {name!r}.{suggest(name, DAMAGES)} Expected {', '.join(DAMAGES)}."
        )
    damage, info = DAMAGES[name], dictionary.info
    if damage.rows and dictionary.decoder_rows is None:
        raise DictionaryError(
            f"{info.source} ({info.family}) has no fixed decoder rows: {damage.told} is nothing "
            "that could be done to it. Expected a damage of the latents: dropped_05, dropped_20, "
            "half_active, encoder_noise_10."
        )
    rows = dictionary.decoder_rows
    return ChangedDictionary(
        dictionary,
        replace(info, family=f"{info.family}.{name}"),
        hashlib.sha256(f"{name} {dictionary.fingerprint}".encode()).hexdigest(),
        encode=damage.encode(dictionary) if damage.encode else None,
        rows=damage.rows(rows) if damage.rows and rows is not None else None,
    )


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _chosen(count: int, share: float) -> Tensor:
    """Indices of a random share of the latents, one of them at least."""
    return torch.randperm(count, generator=_generator())[: max(1, round(share * count))]


def _dropped(share: float) -> Callable[[Dictionary], Encode]:
    def silent(dictionary: Dictionary) -> Encode:
        kept = torch.ones(dictionary.d_sae, device=dictionary.device)
        kept[_chosen(dictionary.d_sae, share).to(kept.device)] = 0
        return only(dictionary, kept)

    return silent


def _half_active(dictionary: Dictionary) -> Encode:
    def encode(x: Tensor) -> Tensor:
        z = dictionary.encode(x)
        sizes = z.abs().sort(dim=1, descending=True).values
        half = (torch.count_nonzero(z, dim=1) + 1) // 2
        least = sizes.gather(1, (half - 1).clamp(min=0)[:, None])
        return z * (z.abs() >= least).to(z.dtype)

    return encode


def _encoder_noise(share: float) -> Callable[[Dictionary], Encode]:
    def noisy(dictionary: Dictionary) -> Encode:
        d = dictionary.d_in
        noise = torch.randn(d, d, generator=_generator()) * (share / d**0.5)
        noise = noise.to(dictionary.device, dictionary.dtype)

        def encode(x: Tensor) -> Tensor:
            x = x.to(noise.dtype)
            return dictionary.encode(x + x @ noise)

        return encode

    return noisy


def _decoder_noise(share: float) -> Callable[[Tensor], Tensor]:
    def noisy(rows: Tensor) -> Tensor:
        noise = normalize(torch.randn(rows.shape, generator=_generator()), dim=1).to(rows)
        lengths: Tensor = rows.norm(dim=1, keepdim=True)
        return rows + share * lengths * noise

    return noisy


def _permuted(share: float) -> Callable[[Tensor], Tensor]:
    def permuted(rows: Tensor) -> Tensor:
        # Two at least, or nothing would change places.
        chosen = _chosen(len(rows), max(share, 2 / len(rows))).to(rows.device)
        mixed = rows.clone()
        mixed[chosen] = rows[chosen.roll(1)]
        return mixed

    return permuted


#: Every damage by name, the lighter ones of a kind first.
DAMAGES: Mapping[str, Damage] = {
    "dropped_05": Damage("5 % of the latents silent", encode=_dropped(0.05)),
    "dropped_20": Damage("20 % of the latents silent", encode=_dropped(0.20)),
    "half_active": Damage(
        "the weaker half of each token's latents silent (a k or thresholds that are off)",
        encode=_half_active,
    ),
    "encoder_noise_10": Damage(
        "what it reads off by a tenth (encoder or its bias)", encode=_encoder_noise(0.1)
    ),
    "decoder_noise_10": Damage("decoder rows with 10 % noise", rows=_decoder_noise(0.1)),
    "decoder_noise_30": Damage("decoder rows with 30 % noise", rows=_decoder_noise(0.3)),
    "permuted_03": Damage("3 % of the decoder rows changed about", rows=_permuted(0.03)),
}
