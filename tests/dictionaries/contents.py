"""Contents of families without files, and what every dictionary with an affine decoder must do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.dictionaries.content import Content
from pytest_sae.dictionaries.prove import prove

CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Gaussian numbers of this shape."""
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def unit(*shape: int, seed: int = 0) -> Tensor:
    """Gaussian rows of norm 1."""
    return torch.nn.functional.normalize(random(*shape, seed=seed), dim=-1)


def tokens(count: int = 60, d_in: int = 12, seed: int = 7) -> Tensor:
    """Activations away from zero on average."""
    return 1.5 * random(count, d_in, seed=seed) + 0.3


def content(
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any] | None = None,
    weights: str = "somewhere/weights",
    **settings: str,
) -> Content:
    """What reading files would have given."""
    return Content("my sae", Path(weights), config or {}, dict(tensors), settings)


def largest(before: Tensor, k: int) -> Tensor:
    """All but each row's k largest set to zero, by sorting."""
    least = before.sort(dim=1, descending=True).values[:, k - 1 : k]
    return torch.where(before >= least, before, 0.0)


def behaves(
    dictionary: Dictionary, x: Tensor, z: Tensor, rows: Tensor, bias: Tensor, **close: float
) -> None:
    """Assert that it encodes x as z, and decodes and ablates by rows and bias; and its proof."""
    close = close or CLOSE
    some = torch.arange(1, len(rows), 3)
    kept = z.clone()
    kept[:, some] = 0
    assert 0 < (z != 0).sum() < z.numel()
    assert (dictionary.d_in, dictionary.d_out) == (x.shape[1], rows.shape[1])
    assert dictionary.d_sae == len(rows)
    bias = bias.expand(len(x), -1)
    torch.testing.assert_close(dictionary.encode(x), z, **close)
    torch.testing.assert_close(dictionary.reconstruct(x), z @ rows + bias, **close)
    torch.testing.assert_close(dictionary.const(x), bias, **close)
    removed = z @ rows - kept @ rows
    torch.testing.assert_close(dictionary.contribution(x, z, some), removed, **close)
    torch.testing.assert_close(dictionary.decoder_rows, rows, **close)
    prove(dictionary)
