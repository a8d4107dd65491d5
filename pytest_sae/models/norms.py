"""What a norm does, found by trying it: LayerNorm or RMSNorm, its weight and its bias."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

_SCALE = 1e3  # beside it a norm's epsilon is nothing


@torch.no_grad()
def ignores_mean(norm: nn.Module, width: int) -> bool:
    """Return whether adding a constant to all of its input changes nothing: a LayerNorm.

    Args:
        norm: a LayerNorm or an RMSNorm.
        width: of its input.
    """
    x = _example(norm, width)
    # Tolerant of bfloat16; an RMSNorm is off by its whole output.
    return torch.allclose(norm(x).float(), norm(x + _SCALE).float(), rtol=0.05, atol=0.05)


def bare(norm: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return what a norm does, without the scale and shift at its end and without its hooks."""
    return _plain(norm).forward


@torch.no_grad()
def affine(norm: nn.Module) -> tuple[Tensor | float, Tensor | float]:
    """Return the scale and shift (d,) that a norm applies at its end, float32."""
    own, plain = dict(norm.named_parameters()), dict(_plain(norm).named_parameters())
    scale = own["weight"].float() - plain["weight"].float() + 1 if "weight" in own else 1.0
    return scale, own["bias"].float() if "bias" in own else 0.0


@torch.no_grad()
def _plain(norm: nn.Module) -> nn.Module:
    """A copy that neither scales nor shifts; only its `forward` is free of the norm's hooks."""
    copy = deepcopy(norm)
    for parameter in copy.parameters():
        parameter.zero_()
    weight = dict(copy.named_parameters()).get("weight")
    # Gemma keeps its weight less one, so that zeros leave the normalised input as it is.
    if weight is not None and not copy.forward(_example(copy, len(weight))).any():
        weight.fill_(1)
    return copy


def _example(norm: nn.Module, width: int) -> Tensor:
    x = _SCALE * torch.randn(1, 2, width, generator=torch.Generator().manual_seed(0))
    parameter = next(norm.parameters(), None)
    return x if parameter is None else x.to(parameter)
