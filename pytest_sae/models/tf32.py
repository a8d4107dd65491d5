"""The model's float32 products in TF32, where a GPU has units for it.

used(device, dtype) -> bool                   passing(device, dtype): a pass of the model
as_key(model) -> part of a cache key           # activations are others then

Only inside a pass of the model: which latents a dictionary selects depends on the last bits of its
own products, which stay float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from pytest_sae.models.model import LanguageModel

SAID = "TF32 (passes of the model alone; dictionaries compute in their own type)"
_FIRST = (8, 0)  # compute capability: Ampere


def used(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether a model's products are computed in TF32.

    Args:
        device: of the model.
        dtype: of the model.
    """
    if device.type != "cuda" or dtype != torch.float32 or torch.version.hip:
        return False
    return torch.cuda.get_device_capability(device) >= _FIRST


@contextmanager
def passing(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Let products be TF32 where they can be, and restore what was set.

    Args:
        device: of the model.
        dtype: of the model.
    """
    if not used(device, dtype):
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def as_key(model: LanguageModel) -> dict[str, object]:
    """Return what a cache key says of a model's products: nothing where they are those of its type.

    Args:
        model: that runs the texts.
    """
    # A model that is not there has no type, and runs nothing.
    there = model.device.type == "cuda" and used(model.device, model.dtype)
    return {"products": "tf32"} if there else {}
