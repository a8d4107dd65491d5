"""The weights of dictionary_learning's classes, checked and brought to one form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch.nn.functional import linear

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.formats.orientation import upright
from pytest_sae.dictionaries.formats.selection import above, top_k

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_LINEAR = ("encoder.weight", "encoder.bias", "decoder.weight")
_PLAIN = ("W_enc", "b_enc", "W_dec", "b_dec")
BUFFERS = frozenset({"k", "threshold", "group_sizes"})
# Names of the tensors of every class, without those that only some versions save.
CLASSES: dict[str, tuple[str, ...]] = {
    "AutoEncoder": (*_LINEAR, "bias"),
    "AutoEncoderNew": (*_LINEAR, "decoder.bias"),
    "GatedAutoEncoder": (
        "encoder.weight", "decoder.weight", "decoder_bias", "r_mag", "gate_bias", "mag_bias",
    ),
    "JumpReluAutoEncoder": (*_PLAIN, "threshold"),
    "AutoEncoderTopK": (*_LINEAR, "b_dec"),
    "BatchTopKSAE": (*_LINEAR, "b_dec", "threshold"),
    "MatryoshkaBatchTopKSAE": (*_PLAIN, "threshold", "group_sizes"),
}  # fmt: skip
_THRESHOLDED = ("JumpReluAutoEncoder", "BatchTopKSAE", "MatryoshkaBatchTopKSAE")


@dataclass(frozen=True)
class Weights:
    """One form for all classes.

    Args:
        reads: (d_sae, d_in) the encoder.
        writes: (d_sae, d_in) the decoder.
        before: (d_in,) subtracted from the input, or zeros.
        after: (d_in,) added to the output.
        latent: (d_sae,) the encoder's bias, or zeros.
        extra: what only some classes have: threshold, r_mag, gate_bias, mag_bias.
    """

    reads: Tensor
    writes: Tensor
    before: Tensor
    after: Tensor
    latent: Tensor
    extra: Mapping[str, Tensor]

    def named(self) -> dict[str, Tensor]:
        """All of them by name."""
        own = {"reads": self.reads, "writes": self.writes, "before": self.before}
        return {**own, "after": self.after, "latent": self.latent, **self.extra}

    def to(self, device: str, dtype: torch.dtype) -> Weights:
        """The same, to compute with."""
        moved = {
            name: tensor.to(device=device, dtype=dtype) for name, tensor in self.named().items()
        }
        return Weights(
            reads=moved["reads"],
            writes=moved["writes"],
            before=moved["before"],
            after=moved["after"],
            latent=moved["latent"],
            extra={name: moved[name] for name in self.extra},
        )

    def first(self, prefix: int | None) -> Weights:
        """Those of the first latents alone, all for None; thresholds are one for all latents."""
        kept = slice(None, prefix)
        return replace(
            self, reads=self.reads[kept], writes=self.writes[kept], latent=self.latent[kept]
        )


def with_one_threshold(kind: str, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the tensors, a threshold for all latents as a number where it is a list of one.

    torch reads such a list into a number, and so does the library's own loader.

    Args:
        kind: name of the class.
        tensors: by the names of its state_dict.
    """
    threshold = tensors.get("threshold")
    if kind == "JumpReluAutoEncoder" or threshold is None or tuple(threshold.shape) != (1,):
        return tensors
    return {**tensors, "threshold": threshold[0]}


def check(kind: str, tensors: Mapping[str, Tensor], source: str) -> None:
    """Refuse tensors that are not a class's, or that must not be evaluated.

    Args:
        kind: name of the class.
        tensors: by the names of its state_dict.
        source: where they are from, for messages.

    Raises:
        DictionaryError: with what was found and what was expected.
    """
    linear_form = "encoder.weight" in CLASSES[kind]
    sides = preflight.matrix(tensors, "encoder.weight" if linear_form else "W_enc", source)
    d_sae, d_in = sides if linear_form else reversed(sides)
    sizes = {
        "encoder.weight": (d_sae, d_in),
        "decoder.weight": (d_in, d_sae),
        "W_enc": (d_in, d_sae),
        "W_dec": (d_sae, d_in),
        "threshold": (d_sae,) if kind == "JumpReluAutoEncoder" else (),
    }
    sizes |= dict.fromkeys(("bias", "decoder.bias", "decoder_bias", "b_dec"), (d_in,))
    buffers = {"k", "group_sizes"} | ({"threshold"} if kind == "AutoEncoderTopK" else set())
    computing = {n: t for n, t in tensors.items() if n not in buffers}
    names = [name for name in CLASSES[kind] if name not in buffers]
    preflight.shapes(computing, {n: sizes.get(n, (d_sae,)) for n in names}, source)
    preflight.finite(computing, source)
    writes = computing["W_dec"] if "W_dec" in computing else computing["decoder.weight"].T
    preflight.decoder(writes, source)
    reads = computing["encoder.weight"] if linear_form else computing["W_enc"].T
    upright(reads, writes, "the decoder", source)
    if kind in _THRESHOLDED:
        preflight.thresholds(computing["threshold"], source)


def one_form(kind: str, t: Mapping[str, Tensor]) -> Weights:
    """Return the weights of any class in one form; they have been checked.

    Args:
        kind: name of the class.
        t: its tensors by name.
    """
    if kind == "GatedAutoEncoder":
        extra = {name: t[name] for name in ("r_mag", "gate_bias", "mag_bias")}
        bias, nothing = t["decoder_bias"], t["gate_bias"] * 0
        return Weights(t["encoder.weight"], t["decoder.weight"].T, bias, bias, nothing, extra)
    if "W_enc" in t:
        after, extra = t["b_dec"], {"threshold": t["threshold"]}
        before = after * 0 if kind == "JumpReluAutoEncoder" else after
        return Weights(t["W_enc"].T, t["W_dec"], before, after, t["b_enc"], extra)
    after = t[{"AutoEncoder": "bias", "AutoEncoderNew": "decoder.bias"}.get(kind, "b_dec")]
    before = after * 0 if kind == "AutoEncoderNew" else after
    extra = {"threshold": t["threshold"]} if kind == "BatchTopKSAE" else {}
    writes = t["decoder.weight"].T
    own = Weights(t["encoder.weight"], writes, before, after, t["encoder.bias"], extra)
    return _unit(own) if kind == "AutoEncoder" else own


def encoder(kind: str, w: Weights, k: int | None) -> Callable[[Tensor], Tensor]:
    """Return what a class computes its latents by.

    Args:
        kind: a key of `CLASSES`.
        w: its weights, on the device and in the type to compute in.
        k: active latents per token, needed by AutoEncoderTopK alone.
    """

    def before(x: Tensor) -> Tensor:
        return linear(x.to(w.reads.dtype) - w.before, w.reads, w.latent)

    if kind == "GatedAutoEncoder":

        def gated(x: Tensor) -> Tensor:
            read = before(x)
            gate = read + w.extra["gate_bias"] > 0
            return gate * (w.extra["r_mag"].exp() * read + w.extra["mag_bias"]).relu()

        return gated
    if kind == "AutoEncoderTopK" and k is not None:
        return lambda x: top_k(before(x).relu(), k)
    if kind in _THRESHOLDED:
        return lambda x: above(before(x).relu(), w.extra["threshold"])
    return lambda x: before(x).relu()


def _unit(w: Weights) -> Weights:
    """The same function with decoder rows of length 1; a row of zeros stays."""
    import torch

    at_least_single = torch.promote_types(w.writes.dtype, torch.float32)
    norms = w.writes.double().norm(dim=1).to(at_least_single)
    norms = norms.where(norms > 0, norms * 0 + 1)
    if bool((norms - 1).abs().max() < 1e-5):
        return w
    return replace(
        w,
        reads=w.reads * norms[:, None],
        writes=w.writes / norms[:, None],
        latent=w.latent * norms,
    )
