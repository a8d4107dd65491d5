"""Loading models from disk, and the sentence that each kind of failure gets."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_sae.errors import ModelError
from pytest_sae.models.load import load as load_model
from pytest_sae.models.prove import prove
from pytest_sae.models.tokenize import batches


@pytest.fixture
def copy(model_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_dir, tmp_path / "copy"))


def test_a_model_is_frozen_and_exact(model_dir: Path) -> None:
    model = load_model(str(model_dir), device="cpu")
    assert model.dtype == torch.float32
    assert model.device == torch.device("cpu")
    assert not model.hf.training
    assert not any(parameter.requires_grad for parameter in model.hf.parameters())
    assert (model.layers, model.vocab) == (3, 64)
    batch = batches(["w0 w1", "w2 w3 w4"], model.tokenizer, 8, True)[0]
    assert model.logits(batch).shape == (2, 4, 64)


def test_a_dtype_is_kept(model_dir: Path) -> None:
    model = load_model(str(model_dir), device="cpu", dtype=torch.bfloat16)
    site = model.site("blocks.1.hook_resid_post")
    batch = batches(["w0 w1", "w2 w3 w4"], model.tokenizer, 8, True)[0]
    x = model.capture(batch, [site])[site]
    assert x.dtype == torch.bfloat16
    assert torch.equal(model.logits_from(batch, site, x.float()), model.logits(batch))
    prove(model, site)


def test_the_fingerprint_follows_content_and_not_the_path(model_dir: Path, copy: Path) -> None:
    one, other = load_model(str(model_dir)), load_model(str(copy))
    assert one.fingerprint == other.fingerprint
    weights = load_file(copy / "model.safetensors")
    weights["model.norm.weight"][0] += 1e-3
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    changed = load_model(str(copy))
    assert changed.fingerprint != one.fingerprint
    assert changed.tokenizer_fingerprint == one.tokenizer_fingerprint


def test_nothing_is_written_to_the_terminal(
    model_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    load_model(str(model_dir))
    assert "".join(capfd.readouterr()) == ""


def _delete(name: str) -> Callable[[Path], None]:
    return lambda path: (path / name).unlink()


def _write(name: str, content: str) -> Callable[[Path], object]:
    return lambda path: (path / name).write_text(content)


def _cut(path: Path) -> None:
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _lose_a_tensor(path: Path) -> None:
    weights = load_file(path / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, path / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_delete("config.json"), "has no config.json .there: model.safetensors|has no config.json"),
        (_delete("tokenizer.json"), "has no tokenizer .there: .*save_pretrained"),
        (_delete("model.safetensors"), "has no weights .there: "),
        (_write("config.json", "{nope"), "cannot load the .*not a valid JSON"),
        (_write("config.json", "{}"), "cannot load the .*model_type"),
        (_write("model.safetensors", "abc"), "cannot load the model .*SafetensorError"),
        (_write("tokenizer.json", "{}"), "cannot load the tokenizer"),
        (_cut, "cannot load the model .*SafetensorError"),
        (_lose_a_tensor, "weights are missing from its files .model.layers.1.mlp.up_proj"),
    ],
    ids=[
        "no config", "no tokenizer", "no weights", "config no json", "config empty",
        "weights no safetensors", "tokenizer empty", "weights cut", "a tensor missing",
    ],
)  # fmt: skip
def test_a_damaged_directory_is_told(
    copy: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(copy)
    with pytest.raises(ModelError, match=message):
        load_model(str(copy))


def test_a_path_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model at .*nowhere: expected a directory"):
        load_model(str(tmp_path / "nowhere"))


def test_a_file_is_no_model(copy: Path) -> None:
    with pytest.raises(ModelError, match="is a file; a model is a directory"):
        load_model(str(copy / "config.json"))


def test_an_empty_directory_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config.json .there: nothing"):
        load_model(str(tmp_path))


def test_a_name_without_a_network_is_told() -> None:
    with pytest.raises(ModelError, match=r"the hub cannot be reached.*hf download nobody/nothing"):
        load_model("nobody/nothing")


def test_code_from_the_directory_is_never_run(copy: Path) -> None:
    (copy / "evil.py").write_text(f"open({str(copy / 'ran')!r}, 'w')")
    (copy / "config.json").write_text(
        '{"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", '
        '"AutoModelForCausalLM": "evil.M"}}'
    )
    with pytest.raises(ModelError, match="cannot load the"):
        load_model(str(copy))
    assert not (copy / "ran").exists()


@pytest.mark.parametrize("device", ["gpu", "cuda:99", ""])
def test_an_unknown_device_is_told(model_dir: Path, device: str) -> None:
    with pytest.raises(ModelError, match="device"):
        load_model(str(model_dir), device=device)
