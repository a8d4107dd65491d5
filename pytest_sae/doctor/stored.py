"""Other dictionaries that the same files may be: turned round, of another type, normalised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_sae.dictionaries.formats import registry
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pytest_sae.dictionaries.base import Dictionary
    from pytest_sae.dictionaries.content import Content

_NORMALISATIONS = ("none", "layer_norm", "constant_norm_rescale")


@dataclass(frozen=True)
class Stored:
    """A dictionary that files would be if they were read otherwise.

    Args:
        cause: what is wrong with the files.
        what: how they were read.
        dictionary: that was made of them.
        settings: of --sae that say so.
        advice: what to do where there are none.
    """

    cause: str
    what: str
    dictionary: Dictionary
    settings: Mapping[str, str] = field(default_factory=dict)
    advice: str = ""


def others(
    content: Content, family: str, device: str, dtype: torch.dtype, loaded: bool
) -> Iterator[Stored]:
    """Give every other dictionary that can be made of some files.

    Args:
        content: of the files.
        family: that it is forced to be, empty where the content says it.
        device: where weights go.
        dtype: to compute in.
        loaded: whether the files make a dictionary as they stand.
    """

    def built(tensors: Mapping[str, Tensor]) -> Dictionary | None:
        return _built(replace(content, tensors=tensors), family, device, dtype)

    for names in _turnable(content.tensors, loaded):
        turned = {
            name: tensor.T.contiguous() if name in names else tensor
            for name, tensor in content.tensors.items()
        }
        if dictionary := built(turned):
            what = f"{' and '.join(names)} transposed"
            advice = f"save {' and '.join(names)} transposed"
            yield Stored("transposed", what, dictionary, advice=advice)
    viewed = _other_halves(content.tensors)
    if viewed and (dictionary := built(viewed[1])):
        what = f"the bits of its weights as {viewed[0]}"
        yield Stored("wrong dtype", what, dictionary, advice=f"save the weights as {viewed[0]}")
    yield from _normalised(content, family, device, dtype)


def _turnable(tensors: Mapping[str, Tensor], loaded: bool) -> Iterator[tuple[str, ...]]:
    """Matrices that may lie the wrong way: each, and all. One that fits does so only if square."""
    names = [
        name
        for name, tensor in sorted(tensors.items())
        if tensor.dim() == 2 and (not loaded or tensor.shape[0] == tensor.shape[1])
    ]
    yield from ((name,) for name in names)
    if len(names) > 1:
        yield tuple(names)


def _other_halves(tensors: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]] | None:
    """Weights in 16 bits as the other type of that size."""
    import torch

    other = {torch.float16: torch.bfloat16, torch.bfloat16: torch.float16}
    halves = {tensor.dtype for tensor in tensors.values()} & other.keys()
    if not halves:
        return None
    target = other[halves.pop()]
    viewed = {
        name: tensor.view(target) if tensor.dtype in other else tensor
        for name, tensor in tensors.items()
    }
    return str(target).removeprefix("torch."), viewed


def _normalised(content: Content, family: str, device: str, dtype: torch.dtype) -> Iterator[Stored]:
    """Per-token normalisations of sae_lens; other families do not know the setting."""
    own = content.settings.get("normalize_activations", content.config.get("normalize_activations"))
    for name in _NORMALISATIONS:
        if name == (own or "none") or "norm_factor" in content.settings:
            continue
        settings = {"normalize_activations": name}
        changed = replace(content, settings={**content.settings, **settings})
        if dictionary := _built(changed, family, device, dtype):
            what = f"normalize_activations {name}"
            yield Stored("wrong normalisation", what, dictionary, settings)


def _built(content: Content, family: str, device: str, dtype: torch.dtype) -> Dictionary | None:
    with suppress(DictionaryError):
        return registry.build(content, family, device=device, dtype=dtype)
    return None
