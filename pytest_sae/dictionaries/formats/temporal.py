"""sae_lens' temporal SAEs: latents of what the earlier tokens of the text do not predict."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.content import Content, check_settings
from pytest_sae.dictionaries.formats.orientation import upright
from pytest_sae.dictionaries.formats.sae_lens_settings import NORMALISATION, PROCESSING
from pytest_sae.dictionaries.formats.selection import BLOCK, top_k
from pytest_sae.dictionaries.weights import computing_dtype, fingerprint
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from pytest_sae.dictionaries.base import Dictionary
    from pytest_sae.dictionaries.formats.sae_lens_config import Config

_SIZES = ("n_heads", "n_attn_layers", "bottleneck_factor")
_LAYERS = ("k_ctx", "q_target", "v_ctx", "c_proj")
_MOST = 1000


def build(
    content: Content,
    config: Config,
    tensors: Mapping[str, Tensor],
    *,
    device: str,
    dtype: torch.dtype | None,
) -> Dictionary:
    """Return z = select(λ (s x - b - p) W_enc), x̂ = (z W_dec + p + b') / s, λ = 1 / (4 d_in).

    p is what its attention predicts of the token from those before it (arXiv 2511.01836); no
    latent writes it, so that it is part of the constant. s is the factor of
    `constant_scalar_rescale`, b is b_dec where it is subtracted from the input, and b' is b_dec
    where sae_lens adds it.

    Args:
        content: what was read.
        config: the configuration, as sae_lens reads it.
        tensors: by the names of its state_dict.
        device: where the weights go.
        dtype: the type to encode in, None for that of the weights, but at least float32.

    Raises:
        DictionaryError: anything that `preflight` refuses.
    """
    check_settings(content, "sae_lens.temporal", (NORMALISATION, *PROCESSING))
    options = config.options
    sizes = {name: preflight.count(options, name, content.source, most=_MOST) for name in _SIZES}
    tied, k, scale = _tied(content), _k(content, config), _scale(content, config)
    _check(content, config, sizes, tensors, tied)
    computing = computing_dtype(tensors, dtype)
    canonical = {
        "format": "sae_lens",
        "architecture": config.architecture,
        "dtype": str(computing),
        "tied": tied,
        "k": k,
        "scale": scale,
        "centred": bool(options.get("apply_b_dec_to_input", True)),
        **sizes,
    }
    sae = _module(config, tensors, canonical, device, computing)
    return TemporalDictionary(sae, config, k, scale, fingerprint(tensors, canonical))


class TemporalDictionary(AffineDictionary):
    """A temporal SAE as a `Dictionary` that is `Contextual`; predictions are sae_lens' own.

    Args:
        sae: its module.
        config: what its files declare.
        k: latents that are kept of a token, None for all that are positive.
        scale: what activations are multiplied by on the way in.
        fingerprint: sha256 of everything that it was made from.
    """

    def __init__(
        self, sae: Any, config: Config, k: int | None, scale: float, fingerprint: str
    ) -> None:
        rows: Tensor = sae.W_dec
        added = not sae.cfg.tied_weights or sae.cfg.apply_b_dec_to_input
        super().__init__(
            encode=self._novel,
            rows=rows / scale,
            bias=sae.b_dec / scale if added else torch.zeros_like(sae.b_dec),
            encoder_rows=None,
            info=config.info,
            fingerprint=fingerprint,
            d_in=2 * config.d_in,
        )
        self.d_site = config.d_in
        self._sae = sae
        self._k = k
        self._scale = scale
        self._reads: Tensor = rows.T if sae.cfg.tied_weights else sae.W_enc
        self._subtracted = sae.b_dec * bool(sae.cfg.apply_b_dec_to_input)

    def in_context(self, x: Tensor) -> Tensor:
        """(text, pos, d) to (text, pos, 2 d): the activation, and what was predicted of it."""
        return torch.cat([torch.cat([x, self._predicted(x)], dim=-1) for x in self._few(x)])

    def reconstruct(self, x: Tensor) -> Tensor:
        """(token, 2 d) to (token, d)."""
        return super().reconstruct(x) + self._split(x)[1]

    def const(self, x: Tensor) -> Tensor:
        """(token, d): the bias, and what was predicted from the tokens before."""
        return super().const(x) + self._split(x)[1]

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        own, predicted = x.to(self.dtype).split(self.d_site, dim=-1)
        return own, predicted

    def _novel(self, x: Tensor) -> Tensor:
        own, predicted = self._split(x)
        left = self._scale * (own - predicted) - self._subtracted
        before = ((left * self._sae.lam) @ self._reads).relu_()
        return before if self._k is None else top_k(before, self._k)

    def _few(self, x: Tensor) -> Iterator[Tensor]:
        """So few texts at a time that what its attention makes of them stays bounded."""
        size = max(1, BLOCK // (8 * x.shape[1] * self.d_sae))
        yield from (part.to(self.device, self.dtype) for part in x.split(size))

    @torch.no_grad()
    def _predicted(self, x: Tensor) -> Tensor:
        codes: Tensor = self._sae.encode_with_predictions(x)[1]
        predicted: Tensor = codes @ self._sae.W_dec / self._scale
        return predicted


def _tied(content: Content) -> bool:
    preflight.flag(content.config, "tied_weights", content.source)
    return bool(content.config.get("tied_weights", True))


def _k(content: Content, config: Config) -> int | None:
    kind = content.config.get("sae_diff_type", "topk")
    if kind not in ("topk", "relu"):
        raise DictionaryError(
            f"{content.source} declares sae_diff_type = {kind!r}. Expected topk or relu."
        )
    if kind == "relu":
        return None
    return preflight.count(content.config, "kval_topk", content.source, most=config.d_sae)


def _scale(content: Content, config: Config) -> float:
    if config.normalisation == "none":
        return 1.0
    name = "activation_normalization_factor"
    value = content.config.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 1e-6 < value < 1e6:
        return float(value)
    raise DictionaryError(
        f"{content.source} declares normalize_activations = {config.normalisation!r} and "
        f"{name} = {value!r}. Expected the factor of training: add it to the configuration."
    )


def _check(
    content: Content,
    config: Config,
    sizes: Mapping[str, int],
    tensors: Mapping[str, Tensor],
    tied: bool,
) -> None:
    d_in, d_sae = config.d_in, config.d_sae
    parts = sizes["bottleneck_factor"] * sizes["n_heads"]
    if d_sae % parts:
        raise DictionaryError(
            f"{content.source} declares {d_sae} latents, bottleneck_factor x n_heads = {parts}. "
            "Expected a multiple of that: correct the configuration."
        )
    narrow = d_sae // sizes["bottleneck_factor"]
    expected: dict[str, tuple[int, ...]] = {"W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    if not tied:
        expected["W_enc"] = (d_in, d_sae)
    for layer in range(sizes["n_attn_layers"]):
        for name in _LAYERS:
            width = narrow if name in ("k_ctx", "q_target") else d_sae
            expected[f"attn_layers.{layer}.{name}.weight"] = (width, d_sae)
            expected[f"attn_layers.{layer}.{name}.bias"] = (width,)
    preflight.shapes(tensors, expected, content.source)
    preflight.finite(tensors, content.source)
    preflight.decoder(tensors["W_dec"], content.source)
    if not tied:
        upright(tensors["W_enc"].T, tensors["W_dec"], "W_dec", content.source)


def _module(
    config: Config,
    tensors: Mapping[str, Tensor],
    canonical: Mapping[str, Any],
    device: str,
    dtype: torch.dtype,
) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing sae_lens warns about its own dependencies
        from sae_lens.saes.temporal_sae import TemporalSAE, TemporalSAEConfig
    settings = TemporalSAEConfig(
        d_in=config.d_in,
        d_sae=config.d_sae,
        dtype=str(dtype).removeprefix("torch."),
        device="meta",
        apply_b_dec_to_input=canonical["centred"],
        normalize_activations=config.normalisation,
        activation_normalization_factor=canonical["scale"],
        sae_diff_type="relu" if canonical["k"] is None else "topk",
        kval_topk=canonical["k"],
        tied_weights=canonical["tied"],
        **{name: canonical[name] for name in _SIZES},
    )
    # Built without storage: the weights that were read become its parameters.
    with torch.device("meta"):
        sae = TemporalSAE(settings)
    sae.load_state_dict({name: t.to(dtype) for name, t in tensors.items()}, assign=True)
    return sae.to(device=device).eval().requires_grad_(False)
