"""SAEs in sae_lens' format: standard, topk, jumprelu (also from batchtopk, matryoshka), gated."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_sae.dictionaries import preflight, sae_lens_config
from pytest_sae.dictionaries.normalise import PER_TOKEN, Normalisation
from pytest_sae.dictionaries.sae_lens_config import TENSORS, Config
from pytest_sae.dictionaries.weights import computing_dtype, fingerprint, read_safetensors

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Set here, whatever the file says: activations come flat, normalised by `normalise`, and where
# the weights go is the caller's choice.
_OURS = ("d_in", "d_sae", "dtype", "device", "normalize_activations", "reshape_activations")


def load(
    config: Path, weights: Path, *, source: str, device: str, dtype: torch.dtype | None
) -> SAELensDictionary:
    """Load an SAE that sae_lens (any version) has saved.

    Raises:
        DictionaryError: anything that `preflight` refuses.
    """
    declared = sae_lens_config.read(config, source)
    tensors = _without_unit_scale(read_safetensors(weights))
    _check(declared, tensors, source)
    computing = computing_dtype(tensors, dtype)
    sae, options = _build(declared, tensors, device, computing)
    canonical = {
        "format": "sae_lens",
        "architecture": declared.architecture,
        "normalize_activations": declared.normalisation,
        "dtype": str(computing),
        **options,
    }
    return SAELensDictionary(sae, declared, fingerprint(tensors, canonical))


class SAELensDictionary:
    """A sae_lens SAE as a `Dictionary`; encoding and decoding are sae_lens' own.

    The normalisation, where there is one, is ours (`normalise`): x̂ = sae(n(x)) · scale + shift.
    """

    def __init__(self, sae: Any, config: Config, fingerprint: str) -> None:
        self.info = config.info
        self.fingerprint = fingerprint
        self.d_in = config.d_in
        self.d_out = config.d_in
        self.d_sae = config.d_sae
        self._sae = sae
        self._normalisation: Normalisation | None = PER_TOKEN.get(config.normalisation)
        self._rows: Tensor = _written_rows(sae)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self._rows.device

    @property
    def dtype(self) -> torch.dtype:
        """The type it encodes in."""
        return self._rows.dtype

    @property
    def decoder_rows(self) -> Tensor | None:
        """(d_sae, d_out): what one unit of each latent writes; None if it varies by token."""
        return None if self._normalisation else self._rows

    @property
    def encoder_rows(self) -> Tensor:
        """(d_sae, d_in): the direction each latent reads."""
        rows: Tensor = self._sae.W_enc.T
        return rows

    def encode(self, x: Tensor) -> Tensor:
        """(token, d_in) to latents (token, d_sae)."""
        z: Tensor = self._sae.encode(self._enter(x))
        return z

    def reconstruct(self, x: Tensor) -> Tensor:
        """(token, d_in) to (token, d_out)."""
        return self._leave(x, self._sae(self._enter(x)))

    def contribution(self, x: Tensor, z: Tensor, latents: Tensor) -> Tensor:
        """(token, d_out): Σ z_j d_j over `latents`, times the token's scale if it is normalised."""
        written = z[:, latents].to(self.dtype) @ self._rows[latents]
        if self._normalisation is None:
            return written
        return written * self._normalisation.scale(x.to(self.dtype))

    def const(self, x: Tensor) -> Tensor:
        """(token, d_out): the decoder's bias, brought back to the token's scale and mean."""
        bias: Tensor = self._sae.b_dec
        return self._leave(x, bias.expand(len(x), -1))

    def _enter(self, x: Tensor) -> Tensor:
        return x if self._normalisation is None else self._normalisation.enter(x.to(self.dtype))

    def _leave(self, x: Tensor, y: Tensor) -> Tensor:
        if self._normalisation is None:
            return y
        x = x.to(self.dtype)
        return y * self._normalisation.scale(x) + self._normalisation.shift(x)


def _without_unit_scale(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Some versions saved a scaling factor of ones that nothing used; others are refused later."""
    scale = tensors.get("scaling_factor")
    unit = scale is not None and bool((scale == 1).all())
    return {name: t for name, t in tensors.items() if not (unit and name == "scaling_factor")}


def _check(config: Config, tensors: Mapping[str, Tensor], source: str) -> None:
    d_in, d_sae = config.d_in, config.d_sae
    expected = {"W_enc": (d_in, d_sae), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    shapes = {name: expected.get(name, (d_sae,)) for name in TENSORS[config.architecture]}
    preflight.shapes(tensors, shapes, source)
    preflight.finite(tensors, source)
    divided = config.options.get("rescale_acts_by_decoder_norm") is True
    preflight.decoder(tensors["W_dec"], source, divided=divided)
    if "threshold" in tensors:
        preflight.thresholds(tensors["threshold"], source)


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
    if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
        rows = rows / rows.norm(dim=1, keepdim=True)
    return rows
