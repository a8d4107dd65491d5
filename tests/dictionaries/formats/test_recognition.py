"""What one family wrote is recognised by that family, and by no other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.encode import CASES, random_weights
from pytest_sae.dictionaries.check import check
from pytest_sae.dictionaries.formats import registry
from pytest_sae.dictionaries.load import load, read
from tests.dictionaries.contents import content
from tests.dictionaries.formats import (
    test_llama_scope,
    test_overcomplete,
    test_signed_codes,
    test_variational,
)

VARIANTS = {
    "openmoss, later names": (
        "llama_scope",
        test_llama_scope.later_weights(),
        test_llama_scope.LATER,
    ),
    "openmoss, first names": (
        "llama_scope",
        test_llama_scope.first_weights(),
        test_llama_scope.FIRST,
    ),
    "archetypal": ("overcomplete", test_overcomplete.archetypes(), {}),
    "linear encoder": ("overcomplete", test_overcomplete.encoded(), {}),
    "hypothesaes": ("signed_codes", test_signed_codes.weights(), test_signed_codes.CONFIGS["topk"]),
    "vsae, by matrices": ("variational", test_variational.by_matrices(), {}),
    "vsae, own output bias": ("variational", test_variational.weights("decoder.bias"), {}),
    "vsae, b_dec": ("variational", test_variational.weights("b_dec"), {}),
}


def test_every_family_has_a_case() -> None:
    assert set(CASES) == set(registry.NAMES)


@pytest.mark.parametrize("name", CASES)
def test_a_familys_files_are_its_own(name: str, tmp_path: Path) -> None:
    path = CASES[name].write(random_weights(d_in=40, d_sae=64), tmp_path)
    what = read(path, CASES[name].settings)
    assert [each for each in registry.NAMES if registry.family(each).recognise(what)] == [name]
    dictionary = load(path, settings=CASES[name].settings)
    assert (dictionary.d_in, dictionary.d_sae) == (40, 64)
    assert dictionary.encode(torch.randn(3, 40)).shape == (3, 64)


@pytest.mark.parametrize("variant", VARIANTS)
def test_other_forms_of_a_family_are_its_own_too(variant: str) -> None:
    name, tensors, config = VARIANTS[variant]
    what = content(tensors, config)
    found = [each for each in registry.NAMES if registry.family(each).recognise(what)]
    assert found == [name]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_every_type_of_computing_is_proven(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    path = CASES[name].write(random_weights(d_in=40, d_sae=64), tmp_path)
    dictionary = load(path, dtype=dtype, settings=CASES[name].settings)
    assert dictionary.dtype == dtype
    assert dictionary.encode(torch.randn(3, 40)).dtype == dtype


@pytest.mark.parametrize("name", CASES)
def test_encoding_changes_neither_its_input_nor_its_result_the_second_time(
    name: str, tmp_path: Path
) -> None:
    path = CASES[name].write(random_weights(d_in=40, d_sae=64), tmp_path)
    assert check(load(path, settings=CASES[name].settings))
