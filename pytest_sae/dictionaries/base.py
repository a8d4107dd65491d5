"""The Dictionary protocol: what every family of sparse dictionaries offers to the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class DictionaryInfo:
    """What a dictionary's files declare about it.

    Args:
        source: where it was loaded from, as the user wrote it.
        family: such as `sae_lens.topk`.
        model: name or path of the model it was trained on, None if undeclared.
        hook_in: hook name or module path that it reads, None if undeclared.
        hook_out: what its reconstruction replaces; the same as hook_in for an autoencoder.
        context_size: tokens per text in training, None if undeclared.
        prepend_bos: whether texts began with BOS in training, None if undeclared.
        k: declared number of active latents, None where the family has none.
        prefixes: how many of the first latents are a dictionary of their own, narrowest first
            (Matryoshka); empty elsewhere.
        suggestion: settings that its path or README suggest for what is undeclared; only for
            messages.
        head: index of the only attention head that it reads, None for all.
        trained_on: what is declared about the processing of the model's weights before training,
            with the defaults of the version that trained it where it is known.
        perhaps: processing that nothing declares, and that some versions do by default; empty where
            it is known.
        remarks: what the report says of its configuration.
    """

    source: str
    family: str
    model: str | None
    hook_in: str | None
    hook_out: str | None
    context_size: int | None = None
    prepend_bos: bool | None = None
    k: int | None = None
    prefixes: tuple[int, ...] = ()
    suggestion: str = ""
    head: int | None = None
    trained_on: Mapping[str, object] = field(default_factory=dict, hash=False)
    perhaps: Mapping[str, bool] = field(default_factory=dict, hash=False)
    remarks: tuple[str, ...] = ()


class Dictionary(Protocol):
    """A sparse dictionary of a network's activations, ready to be evaluated.

    Invariant, proven on random inputs when it is loaded (`prove`):
    `reconstruct(x) = const(x) + contribution(encode(x), all latents)`.
    """

    info: DictionaryInfo
    fingerprint: str
    d_in: int
    d_out: int
    d_sae: int

    @property
    def device(self) -> torch.device:
        """Where its weights are."""

    @property
    def dtype(self) -> torch.dtype:
        """The type it encodes in."""

    @property
    def decoder_rows(self) -> Tensor | None:
        """(d_sae, d_out): what one unit of each latent writes; None if not affine."""

    @property
    def encoder_rows(self) -> Tensor | None:
        """(d_sae, d_in): the direction each latent reads, None where there is no such thing."""

    def encode(self, x: Tensor) -> Tensor:
        """(token, d_in) to latents (token, d_sae)."""

    def reconstruct(self, x: Tensor) -> Tensor:
        """(token, d_in) to (token, d_out); not always the decoding of the encoding."""

    def contribution(self, x: Tensor, z: Tensor, latents: Tensor) -> Tensor:
        """(token, d_out): what ablating `latents` (long indices) removes from the reconstruction.

        x is what z was encoded from; families that normalise per token need it.
        """

    def const(self, x: Tensor) -> Tensor:
        """(token, d_out): the reconstruction that is left when every latent is ablated."""


@runtime_checkable
class Contextual(Protocol):
    """A `Dictionary` whose latents depend on the earlier tokens of the text as well.

    It encodes tokens one by one all the same: what it reads of a token, `d_in` wide, is what stands
    at the site followed by all that the tokens before it say of it. `in_context` makes that of
    whole texts, and no latent writes what is in it.
    """

    d_site: int

    def in_context(self, x: Tensor) -> Tensor:
        """(text, pos, d_site), each text from its first token on, to (text, pos, d_in)."""


@runtime_checkable
class Scaled(Protocol):
    """A `Dictionary` whose latents write fixed rows, times a scale that each token has of its own.

    `contribution(x, z, S) = token_scale(x) * z[:, S] @ scaled_rows[S]`: what ablation takes from a
    text's mean is a sum over scaled latents, as exact as for a decoder that is affine.
    """

    @property
    def scaled_rows(self) -> Tensor:
        """(d_sae, d_out): what one unit of each latent writes at scale one."""

    def token_scale(self, x: Tensor) -> Tensor:
        """(token, d_in) to (token, 1): what is written is multiplied by."""


def site_width(dictionary: Dictionary) -> int:
    """Return how wide the site is that a dictionary reads."""
    return dictionary.d_site if isinstance(dictionary, Contextual) else dictionary.d_in
