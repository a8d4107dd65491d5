"""One linear encoder, one selection, one decoder: what several formats differ in saying of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn.functional import linear

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.formats.orientation import upright
from pytest_sae.dictionaries.formats.selection import above, top_k
from pytest_sae.dictionaries.weights import computing_dtype, fingerprint

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pytest_sae.dictionaries.base import DictionaryInfo


@dataclass(frozen=True)
class Plain:
    """z = select((x - centre) W_encᵀ + b_enc), x̂ = z W_dec + b_dec.

    Args:
        reads: (d_sae, d_in) W_enc.
        writes: (d_sae, d_in) W_dec.
        latent: (d_sae,) b_enc.
        output: (d_in,) b_dec.
        centred: whether the centre is b_dec; it is zero otherwise.
        k: how many latents of a token are kept, None for all that pass.
        signed: whether those k are kept with the sign that they have; only positive ones pass
            otherwise.
        threshold: of one number or (d_sae,), what a latent has to exceed; None for 0.
    """

    reads: Tensor
    writes: Tensor
    latent: Tensor
    output: Tensor
    centred: bool
    k: int | None = None
    signed: bool = False
    threshold: Tensor | None = None

    def named(self) -> dict[str, Tensor]:
        """The tensors by the names that messages have for them."""
        named = {"W_enc": self.reads, "W_dec": self.writes}
        named |= {"b_enc": self.latent, "b_dec": self.output}
        return named | ({} if self.threshold is None else {"threshold": self.threshold})


def build(
    form: str, plain: Plain, info: DictionaryInfo, *, device: str, dtype: torch.dtype | None
) -> AffineDictionary:
    """Return the dictionary, unless its weights must not be evaluated.

    Args:
        form: name of the format, for the fingerprint.
        plain: its weights as they were stored, and what is computed with them.
        info: what is declared about it.
        device: where the weights go.
        dtype: the type to encode in, None for that of the weights, but at least float32.

    Raises:
        DictionaryError: anything that `preflight` refuses.
    """
    stored = plain.named()
    _check(stored, info.source)
    computing = computing_dtype(stored, dtype)
    w = {name: t.to(device=device, dtype=computing) for name, t in stored.items()}
    options = {"centred": plain.centred, "k": plain.k, "signed": plain.signed}
    return AffineDictionary(
        encode=_encoder(w, plain),
        rows=w["W_dec"],
        bias=w["b_dec"],
        encoder_rows=w["W_enc"],
        info=info,
        fingerprint=fingerprint(stored, {"format": form, "dtype": str(computing), **options}),
    )


def _check(stored: dict[str, Tensor], source: str) -> None:
    d_sae, d_in = preflight.matrix(stored, "W_enc", source)
    shapes: dict[str, tuple[int, ...]] = {
        "W_enc": (d_sae, d_in),
        "W_dec": (d_sae, d_in),
        "b_enc": (d_sae,),
        "b_dec": (d_in,),
    }
    if "threshold" in stored:
        one = stored["threshold"].dim() == 0
        shapes["threshold"] = () if one else (d_sae,)
    preflight.shapes(stored, shapes, source)
    preflight.finite(stored, source)
    preflight.decoder(stored["W_dec"], source)
    upright(stored["W_enc"], stored["W_dec"], "W_dec", source)
    if "threshold" in stored:
        preflight.thresholds(stored["threshold"], source)


def _encoder(w: dict[str, Tensor], plain: Plain) -> Callable[[Tensor], Tensor]:
    def encode(x: Tensor) -> Tensor:
        x = x.to(w["W_enc"].dtype)
        before = linear(x - w["b_dec"] if plain.centred else x, w["W_enc"], w["b_enc"])
        passing = before if plain.signed else before.relu_()
        if "threshold" in w:
            passing = above(passing, w["threshold"])
        return passing if plain.k is None else top_k(passing, plain.k)

    return encode
