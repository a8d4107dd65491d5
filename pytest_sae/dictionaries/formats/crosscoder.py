"""Crosscoders of OpenMOSS' library: latents of several sites at once, which write to each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.content import Content, check_settings, declared
from pytest_sae.dictionaries.formats import openmoss, several
from pytest_sae.dictionaries.formats.normalise import ConstantNorms
from pytest_sae.dictionaries.formats.normalised import Normalised
from pytest_sae.dictionaries.formats.orientation import upright
from pytest_sae.dictionaries.weights import computing_dtype, fingerprint
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_sae.dictionaries.base import Dictionary

NAME = "crosscoder"
KEYS = openmoss.KEYS
SETTINGS = (several.AT,)
_ACTIVATIONS = ("relu", "jumprelu", "topk")


@dataclass(frozen=True)
class _Config:
    """What config.json says, checked.

    Args:
        hooks: the sites that it reads and writes.
        at: index of the site that it is measured at.
        d: width of each site.
        factors: what the activations of each site are multiplied by on the way in.
        by_token: whether each token of each site is scaled to the norm √d by itself.
    """

    hooks: tuple[str, ...]
    at: int
    d: int
    d_sae: int
    activation: str
    k: int | None
    factors: tuple[float, ...]
    by_token: bool


def recognise(content: Content) -> bool:
    """Whether the configuration says that it is one."""
    return openmoss.configured(content) and content.config.get("sae_type") == NAME


def build(content: Content, *, device: str, dtype: torch.dtype | None) -> Dictionary:
    """Return z = select_h(Σ_i s_i x_i W_E[i] + b_E[i]), x̂_h = (z W_D[h] + b_D[h]) / s_h.

    i runs over all sites, h is the one that it is measured at (`several`), and s_i is √d over the
    mean norm there. Latents are selected at each site by their size times ‖W_D[h]‖: a latent may be
    active at one and not at another, so that h decides the latents as well as the reconstruction.
    Token-wise, s_i is √d over the norm of x_i itself.

    Raises:
        DictionaryError: anything that `preflight` refuses, and factors that are not given.
    """
    check_settings(content, NAME, SETTINGS)
    config = _read(content)
    tensors = openmoss.weights(content)
    _check(content, config, tensors)
    computing = computing_dtype(tensors, dtype)
    w = _folded(config, tensors, torch.promote_types(computing, torch.float32))
    w = {name: t.to(device=device, dtype=computing) for name, t in w.items()}
    options = {"format": NAME, "dtype": str(computing), **asdict(config)}
    dictionary = AffineDictionary(
        encode=_encoder(config, w),
        rows=w["rows"],
        bias=w["bias"],
        encoder_rows=w["reads"].T,
        info=declared(
            content,
            f"{NAME}.{config.activation}",
            model=content.config.get("model_name"),
            hook_in=several.BESIDE.join(config.hooks),
            hook_out=config.hooks[config.at],
            k=config.k,
        ),
        fingerprint=fingerprint(tensors, options),
    )
    if not config.by_token:
        return dictionary
    return Normalised(dictionary, ConstantNorms(len(config.hooks), config.at))


def _read(content: Content) -> _Config:
    config, source = content.config, content.source
    hooks = several.hooks(config, "hook_points", source)
    at = several.written(content, hooks)
    d = preflight.count(config, "d_model", source)
    d_sae = openmoss.latents(content, d)
    if config.get("sparsity_include_decoder_norm", True) is not True:
        raise DictionaryError(
            f"{source} declares sparsity_include_decoder_norm = "
            f"{config['sparsity_include_decoder_norm']!r}. Expected true, the only crosscoder that "
            "its library computes."
        )
    activation = openmoss.activation(content, _ACTIVATIONS)
    return _Config(
        hooks=hooks,
        at=at,
        d=d,
        d_sae=d_sae,
        activation=activation,
        k=preflight.count(config, "top_k", source, most=d_sae) if activation == "topk" else None,
        factors=_factors(content, d, hooks),
        by_token=openmoss.by_token(content),
    )


def _factors(content: Content, d: int, hooks: tuple[str, ...]) -> tuple[float, ...]:
    if openmoss.by_token(content):
        return (1.0,) * len(hooks)
    return tuple(openmoss.factor(content, d, hook) for hook in hooks)


def _check(content: Content, config: _Config, w: Mapping[str, Tensor]) -> None:
    sites, d, d_sae = len(config.hooks), config.d, config.d_sae
    expected: dict[str, tuple[int, ...]] = {
        "W_E": (sites, d, d_sae),
        "b_E": (sites, d_sae),
        "W_D": (sites, d_sae, d),
        "b_D": (sites, d),
    }
    if config.activation == "jumprelu":
        expected["log_threshold"] = (d_sae,)
    preflight.shapes(w, expected, content.source)
    preflight.finite(w, content.source)
    preflight.decoder(w["W_D"][config.at], content.source)
    upright(w["W_E"][config.at].T, w["W_D"][config.at], "W_D", content.source)


def _folded(config: _Config, w: Mapping[str, Tensor], wide: torch.dtype) -> dict[str, Tensor]:
    """The weights in the model's own scale; what latents are selected by in that of training."""
    w = {name: t.to(wide) for name, t in w.items()}
    enter = torch.tensor(config.factors, dtype=wide)
    leave, rows = config.factors[config.at], w["W_D"][config.at]
    folded = {
        "reads": (w["W_E"] * enter[:, None, None]).flatten(0, 1),
        "offset": w["b_E"].sum(0),
        "rows": rows / leave,
        "bias": w["b_D"][config.at] / leave,
        "score": rows.norm(dim=1),
    }
    if "log_threshold" in w:
        folded["threshold"] = w["log_threshold"].exp()
    return folded


def _encoder(config: _Config, w: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    reads, offset = w["reads"], w["offset"]
    select = openmoss.Selection(config.activation, w["score"], w.get("threshold"), config.k)
    return lambda x: select(torch.addmm(offset, x.to(reads.dtype), reads))
