"""overcomplete's families from their state_dict: TopK, JumpReLU, archetypal, matching pursuit.

The library pickles whole modules, which is never read; a state_dict says neither the selection
(but for JumpReLU) nor k, so that settings do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import layer_norm, linear

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.content import Content, check_settings, declared, whole_setting
from pytest_sae.dictionaries.formats.orientation import upright
from pytest_sae.dictionaries.formats.pursuit import matching_pursuit, orthogonal_pursuit
from pytest_sae.dictionaries.formats.selection import top_k
from pytest_sae.dictionaries.formats.state_dict import unwrapped
from pytest_sae.dictionaries.keys import Keys
from pytest_sae.dictionaries.weights import computing_dtype, fingerprint
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_sae.dictionaries.base import Dictionary

NAME = "overcomplete"
KEYS = Keys()  # the library writes no configuration
SETTINGS = ("codes", "k", "threshold", "normalization", "delta")
_NORMALIZATIONS = ("l2", "max_l2", "l1", "max_l1", "identity")
_PURSUITS = {"mp": matching_pursuit, "omp": orthogonal_pursuit}
_ENCODED = ("relu", "topk", "batchtopk", "jumprelu")
_ATOMS = frozenset({"dictionary._weights"})
_ARCHETYPES = frozenset({"dictionary.C", "dictionary.W", "dictionary.Relax"})
# What 0.0.2 called them; it did not normalise its atoms, and selected by relu alone.
_FIRST = {
    "dictionary.dictionary": "dictionary._weights",
    "encoder.0.": "encoder.final_block.0.",
    "encoder.1.": "encoder.final_block.1.",
}
_FIRST_SETTINGS = {"codes": "relu", "normalization": "identity"}
_EPS = 1e-5  # torch's, of batch and layer normalisation
_UNIT = 0.1  # how far one step of training takes a row from norm 1

Weights = Mapping[str, "Tensor"]
Encode = Callable[["Tensor"], "Tensor"]


def recognise(content: Content) -> bool:
    """Whether there is a dictionary layer, free or archetypal."""
    names = _renamed(unwrapped(content)).tensors.keys()
    return names >= _ATOMS or names >= _ARCHETYPES


def build(content: Content, *, device: str, dtype: torch.dtype | None) -> Dictionary:
    """Return the dictionary: x̂ = z D, D the normalised atoms times exp(multiplier).

    z is a pursuit of x over D, or a selection of relu(encoder(x)); there is no bias.

    Raises:
        DictionaryError: anything that `preflight` refuses, and settings that are missing.
    """
    check_settings(content, NAME, SETTINGS)
    content = _renamed(unwrapped(content))
    tensors = _numbers(content)
    computing = computing_dtype(tensors, dtype)
    w = {name: t.to(device=device, dtype=computing) for name, t in tensors.items()}
    rows = _rows(content, w)
    preflight.decoder(rows, content.source)
    codes = _codes(content)
    k = _k(content, codes, len(rows))
    if codes in _PURSUITS:
        reads, encode = rows, _pursuing(codes, rows, k or 1)
    else:
        reads, before = _encoder(content, w, rows)
        upright(reads, rows, "the dictionary", content.source)
        encode = _selecting(content, codes, before, k, w)
    settings = {name: value for name, value in content.settings.items() if name in SETTINGS}
    return AffineDictionary(
        encode=encode,
        rows=rows,
        bias=rows.new_zeros(rows.shape[1]),
        encoder_rows=reads,
        info=declared(content, f"{NAME}.{codes}", k=k),
        fingerprint=fingerprint(
            tensors, {"format": NAME, "codes": codes, "dtype": str(computing), **settings}
        ),
    )


def _renamed(content: Content) -> Content:
    """A dictionary of 0.0.2 under the names of the later ones, and with what it computed."""
    if "dictionary.dictionary" not in content.tensors:
        return content
    tensors = {}
    for name, tensor in content.tensors.items():
        first = next((each for each in _FIRST if name.startswith(each)), "")
        tensors[_FIRST.get(first, "") + name.removeprefix(first)] = tensor
    return replace(content, tensors=tensors, settings={**_FIRST_SETTINGS, **content.settings})


def _numbers(content: Content) -> dict[str, Tensor]:
    """The tensors without batch normalisation's count of batches, checked to be finite."""
    tensors = {n: t for n, t in content.tensors.items() if not n.endswith("num_batches_tracked")}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise DictionaryError(
                f"{content.source}: {name} is of type {tensor.dtype}. Expected floating point."
            )
    preflight.finite(tensors, content.source)
    return tensors


def _pursuing(codes: str, rows: Tensor, k: int) -> Encode:
    pursue = _PURSUITS[codes]
    return lambda x: pursue(x.to(rows.dtype), rows, k)


def _rows(content: Content, w: Weights) -> Tensor:
    """The atoms as the library's evaluation mode has them."""
    scale = w.get("dictionary.multiplier")
    if scale is not None and scale.numel() != 1:
        raise DictionaryError(
            f"{content.source}: dictionary.multiplier has the shape {tuple(scale.shape)}. Expected "
            "one number."
        )
    atoms = _archetypal(content, w) if "dictionary.C" in w else _normalised(content, w)
    return atoms if scale is None else atoms * scale.exp()


def _normalised(content: Content, w: Weights) -> Tensor:
    atoms = _matrix(content, w, "dictionary._weights")
    kind = content.settings.get("normalization")
    norms = atoms.norm(dim=1, keepdim=True)
    if kind is None and float((norms - 1).abs().max()) > _UNIT:
        raise DictionaryError(
            f"{content.source}: the norms of dictionary._weights are {float(norms.min()):.3g} to "
            f"{float(norms.max()):.3g}, so that it may not have been trained with l2, the usual "
            "normalisation, which the file does not say. Expected the setting normalization="
            f"{'|'.join(_NORMALIZATIONS)} (l2 rescales every atom to norm 1)."
        )
    sums = atoms.abs().sum(dim=1, keepdim=True)
    by: dict[str, Callable[[], Tensor]] = {
        "l2": lambda: atoms / (norms + 1e-8),
        "max_l2": lambda: atoms / norms.max(),
        "l1": lambda: atoms / (sums + 1e-8),
        "max_l1": lambda: atoms / sums.max(),
        "identity": lambda: atoms,
    }
    return by[_one_of(content, "normalization", kind or "l2", _NORMALIZATIONS)]()


def _archetypal(content: Content, w: Weights) -> Tensor:
    """Convex combinations of points, each off them by at most delta."""
    points = _matrix(content, w, "dictionary.C")
    shares = _matrix(content, w, "dictionary.W").relu()
    off = _matrix(content, w, "dictionary.Relax")
    if (len(shares), points.shape[1]) != off.shape or shares.shape[1] != len(points):
        raise DictionaryError(
            f"{content.source}: dictionary.C, W and Relax have the shapes {tuple(points.shape)}, "
            f"{tuple(shares.shape)} and {tuple(off.shape)}. Expected (points, d_in), (d_sae, "
            "points) and (d_sae, d_in)."
        )
    length = off.norm(dim=1, keepdim=True)
    delta = _number(content, "delta")
    if delta is None and bool((length > 0).any()):
        raise DictionaryError(
            f"{content.source} is archetypal, and its file does not say how far from its points "
            f"atoms may be (they are up to {float(length.max()):.3g} off). Expected the setting "
            "delta= as it was in training (the library's default is 1.0)."
        )
    off = off * ((delta or 0.0) / length.clamp(min=1e-30)).clamp(max=1)
    atoms: Tensor = shares / (shares.sum(dim=1, keepdim=True) + 1e-8) @ points + off
    return atoms


def _codes(content: Content) -> str:
    """How latents are selected, from what is there and what is set."""
    names = content.tensors.keys()
    if "Q" in names:
        raise DictionaryError(
            f"{content.source} has quantised latents (Q), most of which are never zero. Expected "
            f"{', '.join((*_ENCODED, *_PURSUITS))}."
        )
    encoded = any(name.startswith("encoder.") for name in names)
    possible = _ENCODED if encoded else tuple(_PURSUITS)
    given = content.settings.get("codes")
    if given is not None:
        return _one_of(content, "codes", given, possible)
    if not encoded:
        return "mp"
    if "thresholds" in names:
        return "jumprelu"
    if "k" in content.settings:
        return "topk"
    if "threshold" in content.settings:
        return "batchtopk"
    raise DictionaryError(
        f"{content.source} is of overcomplete, whose files do not say how latents are selected. "
        "Expected k= for TopK, threshold= for BatchTopK (its running_threshold), or codes=relu: "
        f"--sae={NAME},k=32:{content.source}"
    )


def _k(content: Content, codes: str, d_sae: int) -> int | None:
    k = whole_setting(content, "k", most=d_sae)
    if k is None and codes in ("topk", *_PURSUITS):
        raise DictionaryError(
            f"{content.source} is read as {codes}, and its file does not say k. Expected the "
            f"setting k= from 1 to {d_sae}: --sae={NAME},k=32:{content.source}"
        )
    return k if codes in ("topk", *_PURSUITS) else None


def _encoder(content: Content, w: Weights, rows: Tensor) -> tuple[Tensor, Encode]:
    """The encoder's rows, and what it computes before the selection."""
    layered = [
        n for n in w if n.startswith(("encoder.mlp_blocks", "encoder.attention", "encoder.resnet"))
    ]
    if layered:
        raise DictionaryError(
            f"{content.source} has an encoder of several layers ({layered[0]}), whose activation "
            "functions the file does not say. Expected a linear encoder, normalised or not."
        )
    if any(name.startswith("encoder.tied_to.") for name in w):
        weight, bias = rows, w.get("encoder.bias")
    elif "encoder.weight" in w:
        weight, bias = _matrix(content, w, "encoder.weight"), w.get("encoder.bias")
    else:
        weight = _matrix(content, w, "encoder.final_block.0.weight")
        bias = w.get("encoder.final_block.0.bias")
    if weight.shape != rows.shape:
        raise DictionaryError(
            f"{content.source}: the encoder has the shape {tuple(weight.shape)}, the dictionary "
            f"{tuple(rows.shape)}. Expected the same, (d_sae, d_in)."
        )
    return _normalising(w, weight, rows.new_zeros(len(rows)) if bias is None else bias)


def _normalising(w: Weights, weight: Tensor, bias: Tensor) -> tuple[Tensor, Encode]:
    name = "encoder.final_block.1"
    gain, shift = w.get(f"{name}.weight"), w.get(f"{name}.bias")
    if gain is None or shift is None:
        return weight, lambda x: linear(x, weight, bias)
    if f"{name}.running_mean" not in w:
        size = (len(weight),)
        return weight, lambda x: layer_norm(linear(x, weight, bias), size, gain, shift, _EPS)
    scale = gain / (w[f"{name}.running_var"] + _EPS).sqrt()
    weight = weight * scale[:, None]
    bias = (bias - w[f"{name}.running_mean"]) * scale + shift
    return weight, lambda x: linear(x, weight, bias)


def _selecting(content: Content, codes: str, before: Encode, k: int | None, w: Weights) -> Encode:
    dtype = w[next(iter(w))].dtype
    if codes == "topk":
        return lambda x: top_k(before(x.to(dtype)).relu_(), k or 1)
    if codes == "relu":
        return lambda x: before(x.to(dtype)).relu_()
    least = _least(content, codes, w)

    def encode(x: Tensor) -> Tensor:
        z = before(x.to(dtype)).relu_()
        return z * (z >= least)

    return encode


def _least(content: Content, codes: str, w: Weights) -> Tensor | float:
    """The least latent that is kept."""
    if codes == "jumprelu" and "thresholds" in w:
        return w["thresholds"].exp()
    least = _number(content, "threshold")
    if least is None:
        raise DictionaryError(
            f"{content.source} is read as {codes}, and its file does not say the threshold. "
            "Expected the setting threshold= (BatchTopK's running_threshold)."
        )
    return least


def _matrix(content: Content, w: Weights, name: str) -> Tensor:
    matrix = w.get(name)
    if matrix is not None and matrix.dim() == 2 and matrix.numel():
        return matrix
    found = "nothing" if matrix is None else f"the shape {tuple(matrix.shape)}"
    raise DictionaryError(f"{content.source} has {found} as {name}. Expected a matrix.")


def _one_of(content: Content, name: str, value: str, possible: tuple[str, ...]) -> str:
    if value in possible:
        return value
    raise DictionaryError(
        f"{content.source} is given {name}={value}. Expected {', '.join(possible)} for what it has."
    )


def _number(content: Content, name: str) -> float | None:
    text = content.settings.get(name)
    try:
        value = None if text is None else float(text)
    except ValueError:
        value = math.nan
    if value is None or (math.isfinite(value) and value >= 0):
        return value
    raise DictionaryError(
        f"{content.source} is given {name}={text}. Expected a number of 0 or more."
    )
