"""Weights that were read: naming them by their content, and the type to compute in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from typing_extensions import Buffer


def fingerprint(tensors: Mapping[str, Tensor], config: Mapping[str, object]) -> str:
    """Return the sha256 (hex) of tensors and configuration, wherever they are stored.

    Args:
        tensors: by name; name, type, shape and bytes count.
        config: plain builtins that change the result, and nothing else.
    """
    digest = hashlib.sha256(json.dumps(dict(config), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def computing_dtype(tensors: Mapping[str, Tensor], wanted: torch.dtype | None) -> torch.dtype:
    """Return the type to encode in: the wanted one, else the file's, but float32 at least.

    Args:
        tensors: by name.
        wanted: the type asked for, None for that of the file.
    """
    import torch

    if wanted is not None:
        return wanted
    widest = torch.float32
    for tensor in tensors.values():
        widest = torch.promote_types(widest, tensor.dtype)
    return widest


def without_unit_scale(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without a `scaling_factor` of ones, which nothing uses; any other stays.

    Some versions of sae_lens saved it.
    """
    scale = tensors.get("scaling_factor")
    unit = scale is not None and bool((scale == 1).all())
    return {name: t for name, t in tensors.items() if not (unit and name == "scaling_factor")}


def folded(tensors: Mapping[str, Tensor], factor: float | None) -> Mapping[str, Tensor]:
    """Return the weights for activations as the model has them, of those for f times as much.

    Args:
        tensors: by sae_lens' names; thresholds and the encoder's bias are no multiples of it.
        factor: f, None for 1.
    """
    if factor is None:
        return tensors
    powers = {"W_enc": factor, "W_dec": 1 / factor, "b_dec": 1 / factor}
    # Half precision would round a second time.
    return {n: t.double() * powers[n] if n in powers else t for n, t in tensors.items()}


def _bytes(tensor: Tensor) -> Buffer:
    import torch

    # A view: torch has no bfloat16 in numpy, and copying gigabytes to hash them is slow.
    return cast("Buffer", tensor.reshape(-1).view(torch.uint8).numpy())
