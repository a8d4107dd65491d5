"""The self-check passes on what is right and catches what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.prove import prove
from pytest_sae.errors import DictionaryError

INFO = DictionaryInfo("spoiled", "test", None, None, None)


class _WrongRows(AffineDictionary):
    """Forgets that its reconstruction divides by the rows' norms."""

    def reconstruct(self, x: Tensor) -> Tensor:
        rows = self._rows / self._rows.norm(dim=1, keepdim=True)
        return self._bias + self.encode(x) @ rows


class _WrongConst(AffineDictionary):
    def const(self, x: Tensor) -> Tensor:
        return super().const(x) + 0.01


class _NotAdditive(AffineDictionary):
    def contribution(self, x: Tensor, z: Tensor, latents: Tensor) -> Tensor:
        return super().contribution(x, z, latents) * (len(latents) / self.d_sae)


class _NotANumber(AffineDictionary):
    def reconstruct(self, x: Tensor) -> Tensor:
        return super().reconstruct(x) * float("nan")


class _WrongScale(AffineDictionary):
    """Writes at another scale than it says."""

    decoder_rows = None

    @property
    def scaled_rows(self) -> Tensor:
        return self._rows

    def token_scale(self, x: Tensor) -> Tensor:
        return x.norm(dim=1, keepdim=True)


def build(kind: type[AffineDictionary]) -> AffineDictionary:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(40, 8, generator=generator)
    return kind(lambda x: (x @ rows.T).clamp(min=0), rows, torch.ones(8), rows, INFO, "f")


def test_a_correct_dictionary_is_proven() -> None:
    prove(build(AffineDictionary))


@pytest.mark.parametrize("kind", [_WrongRows, _WrongConst, _NotAdditive, _NotANumber, _WrongScale])
def test_a_dictionary_whose_parts_do_not_add_up_is_refused(kind: type[AffineDictionary]) -> None:
    with pytest.raises(DictionaryError, match=r"spoiled .* Expected at most"):
        prove(build(kind))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_every_type_of_computing_is_proven(dtype: torch.dtype, sae_dirs: dict[str, Path]) -> None:
    for directory in sae_dirs.values():
        prove(load(directory, dtype=dtype))


def test_the_global_random_state_is_left_alone(sae_dirs: dict[str, Path]) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    load(sae_dirs["topk"])
    assert torch.equal(torch.get_rng_state(), before)
