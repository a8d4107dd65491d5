"""SAEs and transcoders in sae_lens' format, of all its architectures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.content import Content, check_settings
from pytest_sae.dictionaries.formats import (
    nested,
    sae_lens_checkpoint,
    sae_lens_config,
    temporal,
    temporal_published,
)
from pytest_sae.dictionaries.formats.normalise import PER_TOKEN
from pytest_sae.dictionaries.formats.normalised import Normalised
from pytest_sae.dictionaries.formats.orientation import upright
from pytest_sae.dictionaries.formats.sae_lens_config import TENSORS, Config
from pytest_sae.dictionaries.formats.sae_lens_keys import KEYS
from pytest_sae.dictionaries.formats.sae_lens_settings import CORRECTIONS
from pytest_sae.dictionaries.weights import (
    computing_dtype,
    fingerprint,
    folded,
    without_unit_scale,
)
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pytest_sae.dictionaries.base import Dictionary

__all__ = ["KEYS", "NAME", "SETTINGS", "SAELensDictionary", "build", "recognise"]

NAME = "sae_lens"
SETTINGS = ("prefix", *CORRECTIONS)
# Set here, whatever the file says: activations come flat, normalised by `normalise`, and where
# the weights go is the caller's choice.
_OURS = ("d_in", "d_sae", "dtype", "device", "normalize_activations", "reshape_activations")
# Declared by every version of the format, and together by no other.
_KEYS = ("d_in", "d_sae", "architecture", "metadata", "hook_name", "hook_point")
_NARROWED = {"W_enc": 1, "W_dec": 0, "b_enc": 0, "threshold": 0}


def recognise(content: Content) -> bool:
    """Whether the weights have `W_dec` and the configuration is sae_lens', or it reads others'."""
    if temporal_published.recognise(content):
        return True
    others = {"encoder.weight", "b_dec_out"} & content.tensors.keys()
    others |= {"act_size"} & content.config.keys()
    return "W_dec" in content.tensors and not others and any(k in content.config for k in _KEYS)


def build(content: Content, *, device: str, dtype: torch.dtype | None) -> Dictionary:
    """Build an SAE or transcoder that sae_lens (any version) has saved.

    The setting `prefix` gives the first latents of a Matryoshka SAE as one of their own; the others
    correct what its configuration says (`sae_lens_settings`).

    Raises:
        DictionaryError: anything that `preflight` refuses.
    """
    check_settings(content, NAME, SETTINGS)
    content = sae_lens_checkpoint.finished(temporal_published.converted(content))
    config = sae_lens_config.read(content)
    tensors = without_unit_scale(content.tensors)
    if config.architecture == sae_lens_config.TEMPORAL:
        return temporal.build(content, config, tensors, device=device, dtype=dtype)
    _check(config, tensors, content.source)
    config, tensors = _first(config, tensors, nested.prefix(content, config.info.prefixes))
    computing = computing_dtype(tensors, dtype)
    sae, options = _build(config, folded(tensors, config.factor), device, computing)
    canonical = {
        "format": "sae_lens",
        "architecture": config.architecture,
        "normalize_activations": config.normalisation,
        "dtype": str(computing),
        **options,
    }
    if config.factor is not None:
        canonical["norm_factor"] = config.factor
    dictionary = SAELensDictionary(sae, config, fingerprint(tensors, canonical))
    normalisation = PER_TOKEN.get(config.normalisation)
    return Normalised(dictionary, normalisation) if normalisation else dictionary


class SAELensDictionary:
    """A sae_lens module as a `Dictionary`; encoding and decoding are sae_lens' own."""

    def __init__(self, sae: Any, config: Config, fingerprint: str) -> None:
        self.info = config.info
        self.fingerprint = fingerprint
        self.d_in = config.d_in
        self.d_out = config.d_out
        self.d_sae = config.d_sae
        self._sae = sae
        self._rows: Tensor = _written_rows(sae)
        # Where sae_lens would divide by the norm of a row of zeros.
        self._pruned = _rescaled(sae) and bool((sae.W_dec == 0).all(dim=1).any())
        self._bias: Tensor = _written_bias(sae)
        self._skip: Tensor | None = getattr(sae, "W_skip", None)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self._rows.device

    @property
    def dtype(self) -> torch.dtype:
        """The type it encodes in."""
        return self._rows.dtype

    @property
    def decoder_rows(self) -> Tensor:
        """(d_sae, d_out): what one unit of each latent writes."""
        return self._rows

    @property
    def encoder_rows(self) -> Tensor:
        """(d_sae, d_in): the direction each latent reads."""
        rows: Tensor = self._sae.W_enc.T
        return rows

    def encode(self, x: Tensor) -> Tensor:
        """(token, d_in) to latents (token, d_sae)."""
        z: Tensor = self._sae.encode(x)
        return z

    def reconstruct(self, x: Tensor) -> Tensor:
        """(token, d_in) to (token, d_out), with the skip connection where there is one."""
        if self._pruned:
            return self.const(x) + self.encode(x) @ self._rows
        reconstructed: Tensor = self._sae(x.to(self.dtype))
        return reconstructed

    def contribution(self, x: Tensor, z: Tensor, latents: Tensor) -> Tensor:
        """(token, d_out): Σ z_j d_j over `latents`; the same for every x."""
        return z[:, latents].to(self.dtype) @ self._rows[latents]

    def const(self, x: Tensor) -> Tensor:
        """(token, d_out): the decoder's bias, and what the skip connection passes on."""
        bias = self._bias.expand(len(x), -1)
        return bias if self._skip is None else bias + x.to(self.dtype) @ self._skip.T


def _check(config: Config, tensors: Mapping[str, Tensor], source: str) -> None:
    d_in, d_out, d_sae = config.d_in, config.d_out, config.d_sae
    expected = {
        "W_enc": (d_in, d_sae),
        "W_dec": (d_sae, d_out),
        "b_dec": (d_out,),
        "W_skip": (d_out, d_in),
    }
    shapes = {name: expected.get(name, (d_sae,)) for name in TENSORS[config.architecture]}
    preflight.shapes(tensors, shapes, source)
    preflight.finite(tensors, source)
    preflight.decoder(tensors["W_dec"], source)
    if "W_enc" in tensors and d_in == d_out:
        upright(tensors["W_enc"].T, tensors["W_dec"], "W_dec", source)
    if "threshold" in tensors:
        preflight.thresholds(tensors["threshold"], source)
    if config.architecture == "matching_pursuit":
        preflight.unit_rows(tensors["W_dec"], source)


def _first(
    config: Config, tensors: dict[str, Tensor], prefix: int | None
) -> tuple[Config, dict[str, Tensor]]:
    """The nested SAE of the first latents; the k of the whole says nothing about it."""
    if prefix is None:
        return config, tensors
    if config.architecture not in ("jumprelu", "standard"):
        raise DictionaryError(
            f"{config.info.source} is given prefix={prefix}, and its latents compete for their "
            f"places ({config.architecture}). Expected latents that encode each on its own."
        )
    narrowed = {
        name: tensor.narrow(_NARROWED[name], 0, prefix) if name in _NARROWED else tensor
        for name, tensor in tensors.items()
    }
    info = replace(config.info, k=None)
    return replace(config, d_sae=prefix, info=info), narrowed


def _build(
    config: Config, tensors: Mapping[str, Tensor], device: str, dtype: torch.dtype
) -> tuple[Any, dict[str, object]]:
    """The sae_lens module, and those of its options that are not the default."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing sae_lens warns about its own dependencies
        from sae_lens.registry import get_sae_class
        from sae_lens.saes.sae import SAE  # noqa: F401  (registers the classes)
    sae_class, config_class = get_sae_class(config.architecture)
    options = {
        field.name: config.options[field.name]
        for field in fields(config_class)
        if field.name in config.options
        and field.name not in (*_OURS, "metadata")
        and config.options[field.name] != field.default
    }
    sizes = {"d_in": config.d_in, "d_sae": config.d_sae}
    name = str(dtype).removeprefix("torch.")
    # Built without storage: the weights that were read become its parameters.
    sae = sae_class(config_class(**sizes, dtype=name, device="meta", **options))
    sae.load_state_dict({name: t.to(dtype) for name, t in tensors.items()}, assign=True)
    return sae.to(device=device).eval().requires_grad_(False), options


def _written_rows(sae: Any) -> Tensor:
    rows: Tensor = sae.W_dec
    if _rescaled(sae):
        norms = rows.norm(dim=1, keepdim=True)
        # A pruned latent never fires, its activation being multiplied by its norm: it writes 0.
        rows = rows / (norms + (norms == 0))
    return rows


def _rescaled(sae: Any) -> bool:
    return bool(getattr(sae.cfg, "rescale_acts_by_decoder_norm", False))


def _written_bias(sae: Any) -> Tensor:
    bias: Tensor = sae.b_dec
    tied = sae.cfg.architecture() == "matching_pursuit"
    # A pursuit adds the bias back only where it has subtracted it.
    return bias * 0 if tied and not sae.cfg.apply_b_dec_to_input else bias
