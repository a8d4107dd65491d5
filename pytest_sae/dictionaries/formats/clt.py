"""Cross-layer transcoders of OpenMOSS' library: latents of one layer write to all above it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.content import Content, check_settings, declared
from pytest_sae.dictionaries.formats import openmoss, several
from pytest_sae.dictionaries.weights import computing_dtype, fingerprint
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_sae.dictionaries.base import Dictionary

NAME = "clt"
KEYS = openmoss.KEYS
SETTINGS = (several.AT,)
_ACTIVATIONS = ("jumprelu", "topk")


@dataclass(frozen=True)
class _Config:
    """What config.json says, checked.

    Args:
        reads: the sites that it reads, one for each layer.
        writes: the sites that it writes, one for each layer.
        at: index of the written site that it is measured at.
        d: width of each site.
        d_sae: latents of each layer.
        by_norm: whether latents are selected by their size times the norm of all that they write.
        enter: what is read is multiplied by these.
        leave: what is written at `at` is divided by this.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    at: int
    d: int
    d_sae: int
    activation: str
    k: int | None
    by_norm: bool
    enter: tuple[float, ...]
    leave: float

    @property
    def below(self) -> int:
        """How many layers write to the site that it is measured at."""
        return self.at + 1


def recognise(content: Content) -> bool:
    """Whether the configuration says that it is one."""
    return openmoss.configured(content) and content.config.get("sae_type") == NAME


def build(content: Content, *, device: str, dtype: torch.dtype | None) -> Dictionary:
    """Return z_l = select(s_l x_l W_E[l] + b_E[l]), ŷ_h = (Σ_l z_l W_D[h][l] + b_D[h]) / t_h.

    h is the layer that it is measured at (`several`) and l runs over 0 to h: those above write
    nothing there, and are left out. Latents stand layer after layer. s and t are √d over the mean
    norms of what is read and written. Where sparsity_include_decoder_norm is set, latents are
    selected by their size times the norm of what they write to all layers together.

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
    return AffineDictionary(
        encode=_encoder(config, w),
        rows=w["rows"],
        bias=w["bias"],
        encoder_rows=None,  # each reads one layer: as rows of all of them they are nearly all zero
        info=declared(
            content,
            f"{NAME}.{config.activation}",
            model=content.config.get("model_name"),
            hook_in=several.BESIDE.join(config.reads[: config.below]),
            hook_out=config.writes[config.at],
            k=config.k and config.k * config.below,
        ),
        fingerprint=fingerprint(tensors, options),
        d_in=config.below * config.d,
    )


def _read(content: Content) -> _Config:
    config, source = content.config, content.source
    reads, writes = (several.hooks(config, f"hook_points_{side}", source) for side in ("in", "out"))
    if len(reads) != len(writes):
        raise DictionaryError(
            f"{source} declares {len(reads)} hook_points_in and {len(writes)} hook_points_out. "
            "Expected as many of the one as of the other: correct the configuration."
        )
    at = several.written(content, writes)
    d = preflight.count(config, "d_model", source)
    d_sae = openmoss.latents(content, d)
    preflight.flag(config, "sparsity_include_decoder_norm", source)
    activation = openmoss.activation(content, _ACTIVATIONS)
    return _Config(
        reads=reads,
        writes=writes,
        at=at,
        d=d,
        d_sae=d_sae,
        activation=activation,
        k=preflight.count(config, "top_k", source, most=d_sae) if activation == "topk" else None,
        by_norm=bool(config.get("sparsity_include_decoder_norm", True)),
        enter=tuple(openmoss.factor(content, d, hook) for hook in reads),
        leave=openmoss.factor(content, d, writes[at]),
    )


def _check(content: Content, config: _Config, w: Mapping[str, Tensor]) -> None:
    layers, d, d_sae = len(config.reads), config.d, config.d_sae
    expected: dict[str, tuple[int, ...]] = {"W_E": (layers, d, d_sae), "b_E": (layers, d_sae)}
    for layer in range(layers):
        expected[f"W_D.{layer}"] = (layer + 1, d_sae, d)
        expected[f"b_D.{layer}"] = (d,)
    if config.activation == "jumprelu":
        expected["log_threshold"] = (layers, d_sae)
    preflight.shapes(w, expected, content.source)
    preflight.finite(w, content.source)
    preflight.decoder(w[f"W_D.{config.at}"].flatten(0, 1), content.source)


def _folded(config: _Config, w: Mapping[str, Tensor], wide: torch.dtype) -> dict[str, Tensor]:
    """The weights of the layers that write there, in the model's own scale."""
    below = config.below
    enter = torch.tensor(config.enter[:below], dtype=wide)
    folded = {
        "reads": w["W_E"][:below].to(wide) * enter[:, None, None],
        "offset": w["b_E"][:below].to(wide),
        "rows": w[f"W_D.{config.at}"].to(wide).flatten(0, 1) / config.leave,
        "bias": w[f"b_D.{config.at}"].to(wide) / config.leave,
        "score": _norms(config, w, wide),
    }
    if "log_threshold" in w:
        folded["threshold"] = w["log_threshold"][:below].to(wide).exp()
    return folded


def _norms(config: _Config, w: Mapping[str, Tensor], wide: torch.dtype) -> Tensor:
    """(layer, latent): the norm of all that a latent writes, to every layer above; or ones."""
    squares = torch.zeros(len(config.reads), config.d_sae, dtype=wide)
    for layer in range(len(config.writes)):
        squares[: layer + 1] += w[f"W_D.{layer}"].to(wide).square().sum(-1)
    norms = squares[: config.below].sqrt()
    return norms if config.by_norm else torch.ones_like(norms)


def _encoder(config: _Config, w: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    reads, offset = w["reads"], w["offset"][:, None]
    threshold = w.get("threshold")
    select = openmoss.Selection(
        config.activation,
        w["score"][:, None],
        None if threshold is None else threshold[:, None],
        config.k,
    )

    def encode(x: Tensor) -> Tensor:
        layers = x.to(reads.dtype).unflatten(1, (config.below, config.d)).transpose(0, 1)
        z = select(torch.baddbmm(offset, layers, reads))  # (layer, token, latent)
        return z.transpose(0, 1).flatten(1)

    return encode
