"""Loading: the name by content, the type of computing, and no noise."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_sae import bundled_world
from pytest_sae.dictionaries.load import candidates, load, looks_like_dictionary
from pytest_sae.dictionaries.preflight import require_site
from tests.dictionaries.conftest import edit_config, edit_weights
from tests.tiny import SAE_ARCHS, tiny_sae

Copy = Callable[..., Path]


def to_type(dtype: torch.dtype) -> Callable[[dict[str, Any]], None]:
    return lambda w: w.update({name: tensor.to(dtype) for name, tensor in w.items()})


def test_the_fingerprint_does_not_depend_on_where_the_files_lie(
    sae_dirs: dict[str, Path], tmp_path: Path
) -> None:
    for arch, directory in sae_dirs.items():
        copy = Path(shutil.copytree(directory, tmp_path / arch))
        assert load(copy).fingerprint == load(directory).fingerprint
        assert load(copy).info.source != load(directory).info.source


def test_the_fingerprint_does_not_depend_on_the_order_or_layout_of_the_files(
    copy_of: Copy, sae_dirs: dict[str, Path]
) -> None:
    directory = copy_of("topk")
    weights = directory / "sae_weights.safetensors"
    save_file(dict(reversed(load_file(weights).items())), weights, metadata={"saved": "again"})
    edit_config(directory, lambda config: config.update(device="cuda:3", dtype="bfloat16"))
    assert load(directory).fingerprint == load(sae_dirs["topk"]).fingerprint


@pytest.mark.parametrize("name", ["W_enc", "W_dec", "b_enc", "b_dec", "threshold"])
def test_one_changed_weight_changes_the_fingerprint(copy_of: Copy, name: str) -> None:
    directory = copy_of("jumprelu")
    before = load(directory).fingerprint

    def nudge(weights: dict[str, Any]) -> None:
        weights[name].view(-1)[0] += 1e-4

    assert load(edit_weights(directory, nudge)).fingerprint != before


@pytest.mark.parametrize("change", [{"k": 5}, {"apply_b_dec_to_input": False}])
def test_a_configuration_that_changes_the_result_changes_the_fingerprint(
    copy_of: Copy, change: dict[str, object]
) -> None:
    directory = copy_of("topk")
    before = load(directory).fingerprint
    edit_config(directory, lambda config: config.update(change))
    assert load(directory).fingerprint != before


def test_all_families_and_types_have_their_own_fingerprint(sae_dirs: dict[str, Path]) -> None:
    dtypes = (None, torch.float64, torch.bfloat16)
    names = {load(path, dtype=dtype).fingerprint for path in sae_dirs.values() for dtype in dtypes}
    assert len(names) == 3 * len(SAE_ARCHS)
    assert {len(name) for name in names} == {64}


@pytest.mark.parametrize(
    ("stored", "computing"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_the_type_of_computing_is_that_of_the_file_but_float32_at_least(
    copy_of: Copy, stored: torch.dtype, computing: torch.dtype
) -> None:
    for arch in SAE_ARCHS:
        dictionary = load(edit_weights(copy_of(arch, arch), to_type(stored)))
        assert dictionary.dtype == computing
        assert dictionary.encode(torch.randn(2, 32)).dtype == computing


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_an_explicit_type_is_respected(sae_dirs: dict[str, Path], dtype: torch.dtype) -> None:
    dictionary = load(sae_dirs["topk"], dtype=dtype)
    x = torch.randn(2, 32)
    z = dictionary.encode(x)
    outputs = (z, dictionary.reconstruct(x), dictionary.const(x), dictionary.decoder_rows)
    assert dictionary.dtype == dtype
    assert {output.dtype for output in outputs if output is not None} == {dtype}


def test_what_the_metadata_declares_is_told(sae_dirs: dict[str, Path], model_dir: Path) -> None:
    info = load(sae_dirs["batchtopk"]).info
    assert info.family == "sae_lens.batchtopk"
    assert (info.model, info.hook_in) == (str(model_dir), "blocks.1.hook_resid_post")
    assert (info.hook_out, info.context_size, info.prepend_bos) == (info.hook_in, 32, True)
    assert info.k == 6
    assert load(sae_dirs["standard"]).info.k is None


def test_a_weights_file_stands_for_its_directory(sae_dirs: dict[str, Path]) -> None:
    directory = sae_dirs["topk"]
    weights = directory / "sae_weights.safetensors"
    assert load(weights).fingerprint == load(directory).fingerprint
    assert candidates(weights) == candidates(directory) == [directory]
    assert looks_like_dictionary(weights)
    assert looks_like_dictionary(directory)
    assert not looks_like_dictionary(directory.parent)
    assert not looks_like_dictionary(directory / "cfg.json")
    assert candidates(directory.parent) == sorted(sae_dirs.values())


def test_nothing_asks_for_gradients(sae_dirs: dict[str, Path]) -> None:
    for directory in sae_dirs.values():
        dictionary = load(directory)
        assert not dictionary.reconstruct(torch.randn(3, 32)).requires_grad


@pytest.mark.parametrize("name", ["topk", "batchtopk", "relu", "topk-001", "topk-010", "random"])
def test_the_bundled_dictionaries_load_and_say_where_they_belong(name: str) -> None:
    dictionary = load(bundled_world() / "saes" / name)
    require_site(dictionary.info)
    assert dictionary.decoder_rows is not None


QUIET = """
import socket, sys
def refuse(*args, **kwargs): raise AssertionError(f"network: {args}")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from pytest_sae.dictionaries.load import load
assert "torch" not in sys.modules
for path in sys.argv[1:]:
    load(path)
"""


def test_loading_is_silent_and_needs_no_network(sae_dirs: dict[str, Path], tmp_path: Path) -> None:
    kwargs = {"model_from_pretrained_kwargs": {"center_writing_weights": False}}
    noisy = tiny_sae(tmp_path / "noisy", "topk")
    edit_config(noisy, lambda config: config["metadata"].update(kwargs))
    paths = [str(path) for path in (*sae_dirs.values(), noisy)]
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", QUIET, *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
