"""Weights of 8 bits are read as the numbers that they are, or refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_sae.dictionaries.containers import read_weights
from pytest_sae.dictionaries.load import load
from pytest_sae.errors import DictionaryError
from tests.tiny import tiny_sae

EIGHT = (torch.float8_e4m3fn, torch.float8_e5m2)


@pytest.mark.parametrize("dtype", EIGHT, ids=str)
def test_every_number_of_eight_bits_is_itself(dtype: torch.dtype, tmp_path: Path) -> None:
    """Spelled out from sign, exponent and fraction; what no format calls a number is left out."""
    bits = torch.arange(256, dtype=torch.uint8)
    path = tmp_path / "w.safetensors"
    save_file({"w": bits.view(dtype)}, path)
    read = read_weights(path)[0]["w"]
    assert read.dtype == torch.float32
    fraction = 3 if dtype is torch.float8_e4m3fn else 2
    bias = 7 if fraction == 3 else 15
    for byte, value in enumerate(read.tolist()):
        exponent, rest = (byte & 127) >> fraction, byte & (2**fraction - 1)
        size = rest / 2**fraction + (exponent > 0)
        expected = (-1) ** (byte >> 7) * size * 2.0 ** (max(exponent, 1) - bias)
        last = exponent == 2 ** (7 - fraction) - 1
        if not (last and (fraction == 2 or rest == 7)):
            assert value == expected, byte


@pytest.mark.parametrize("dtype", EIGHT, ids=str)
def test_an_sae_of_eight_bits_is_the_one_of_its_rounded_weights(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    path = tiny_sae(tmp_path / "sae", "standard")
    file = path / "sae_weights.safetensors"
    small = {name: tensor.to(dtype) for name, tensor in load_file(file).items()}
    save_file(small, file)
    found = load(path)
    save_file({name: tensor.to(torch.float32) for name, tensor in small.items()}, file)
    x = torch.randn(20, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found.reconstruct(x), load(path).reconstruct(x))


def test_numbers_of_four_bits_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    header = json.dumps({"w": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\\0\\0")
    with pytest.raises(DictionaryError, match=r"'w' is of type F4.*save .* unquantised"):
        read_weights(path)


def test_a_pickle_of_eight_bits_says_how_to_save_it(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"w": torch.ones(3).to(torch.float8_e4m3fn)}, path)
    with pytest.raises(DictionaryError, match=r"float8_e4m3fn.*Expected them as safetensors"):
        read_weights(path)
