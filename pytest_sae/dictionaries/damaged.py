"""Copies of a dictionary with one thing wrong, of a known size: would a gate see it?

damaged(dictionary, "dropped_20") -> Dictionary
damaged_files(content, "k_times_2.7") -> Content
DAMAGES -> what each of them is, by name

Two more need no copy: an SAE that reads another block is its `site` given as a setting, and one
that was trained half as long is a checkpoint.
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
from pytest_sae.dictionaries.content import Content
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
        files: what becomes of what its files say, None where they stay.
    """

    told: str
    rows: Callable[[Tensor], Tensor] | None = None
    encode: Callable[[Dictionary], Encode] | None = None
    files: Callable[[Content], Content] | None = None


def damaged(dictionary: Dictionary, name: str) -> Dictionary:
    """Return a copy of a dictionary with one thing wrong; the same one whenever it is asked for.

    Args:
        dictionary: of any family; one of which the files are damaged was built from these.
        name: a key of `DAMAGES`.

    Raises:
        DictionaryError: an unknown name, or decoder rows to damage where there are none.
    """
    damage, info = _damage(name), dictionary.info
    if damage.rows and dictionary.decoder_rows is None:
        latents = ", ".join(each for each, other in DAMAGES.items() if other.encode)
        raise DictionaryError(
            f"{info.source} ({info.family}) has no fixed decoder rows: {damage.told} is nothing "
            f"that could be done to it. Expected a damage of the latents: {latents}."
        )
    rows = dictionary.decoder_rows
    return ChangedDictionary(
        dictionary,
        replace(info, family=f"{info.family}.{name}"),
        hashlib.sha256(f"{name} {dictionary.fingerprint}".encode()).hexdigest(),
        encode=damage.encode(dictionary) if damage.encode else None,
        rows=damage.rows(rows) if damage.rows and rows is not None else None,
    )


def damaged_files(content: Content, name: str) -> Content:
    """Return what a dictionary is built from whose files are what is damaged, else all as it was.

    Args:
        content: of its files.
        name: a key of `DAMAGES`.

    Raises:
        DictionaryError: an unknown name, or files that do not say what is to be changed.
    """
    files = _damage(name).files
    return content if files is None else files(content)


def _damage(name: str) -> Damage:
    if name not in DAMAGES:
        raise DictionaryError(
            f"there is no damage {name!r}.{suggest(name, DAMAGES)} Expected {', '.join(DAMAGES)}."
        )
    return DAMAGES[name]


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


def _weaker_silent(share: float) -> Callable[[Dictionary], Encode]:
    def strongest(dictionary: Dictionary) -> Encode:
        def encode(x: Tensor) -> Tensor:
            z = dictionary.encode(x)
            sizes = z.abs().sort(dim=1, descending=True).values
            active = torch.count_nonzero(z, dim=1)
            # One at least, or nothing would be silent, but never the last.
            silent = (share * active).floor().long().maximum((active > 1).long())
            least = sizes.gather(1, (active - silent - 1).clamp(min=0)[:, None])
            return z * (z.abs() >= least).to(z.dtype)

        return encode

    return strongest


def _scaled(share: float, factor: float) -> Callable[[Dictionary], Encode]:
    def scaled(dictionary: Dictionary) -> Encode:
        times = torch.ones(dictionary.d_sae, device=dictionary.device)
        times[_chosen(dictionary.d_sae, share).to(times.device)] = factor
        return only(dictionary, times)

    return scaled


def _times_k(factor: float) -> Callable[[Content], Content]:
    def more(content: Content) -> Content:
        k = content.config.get("k")
        if not isinstance(k, int) or isinstance(k, bool):
            raise DictionaryError(
                f"{content.source} declares no k: it cannot be multiplied. Expected a TopK whose "
                "configuration has it, or another damage."
            )
        return replace(content, config={**content.config, "k": round(factor * k)})

    return more


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
    "dropped_01": Damage("1 % of the latents silent", encode=_dropped(0.01)),
    "dropped_05": Damage("5 % of the latents silent", encode=_dropped(0.05)),
    "dropped_20": Damage("20 % of the latents silent", encode=_dropped(0.20)),
    "half_active": Damage(
        "the weaker half of each token's latents silent (a k or thresholds that are off)",
        encode=_weaker_silent(0.5),
    ),
    "k_less_10": Damage(
        "the weakest tenth of each token's latents silent", encode=_weaker_silent(0.1)
    ),
    "k_times_2.7": Damage("k is 2.7 times what it was trained with", files=_times_k(2.7)),
    "halved_50": Damage("half of the latents half as strong", encode=_scaled(0.5, 0.5)),
    "encoder_noise_10": Damage(
        "what it reads off by a tenth (encoder or its bias)", encode=_encoder_noise(0.1)
    ),
    "decoder_noise_05": Damage("decoder rows with 5 % noise", rows=_decoder_noise(0.05)),
    "decoder_noise_10": Damage("decoder rows with 10 % noise", rows=_decoder_noise(0.1)),
    "decoder_noise_30": Damage("decoder rows with 30 % noise", rows=_decoder_noise(0.3)),
    "permuted_03": Damage("3 % of the decoder rows changed about", rows=_permuted(0.03)),
}
