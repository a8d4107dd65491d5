"""Models of their configurations alone. The witness is the model with weights, which is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pytest_sae.errors import ModelError, SiteError
from pytest_sae.models import blocks, outline
from pytest_sae.models.load import load
from pytest_sae.models.load import outline as outlined
from pytest_sae.models.processing import Processing
from pytest_sae.models.site import known_hooks
from tests.models.architectures import ARCHITECTURES, language_model
from tests.tiny import tiny_model


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_width_of_every_hook_is_that_of_what_stands_there(arch: str) -> None:
    model = language_model(arch)
    block = blocks.find_blocks(model.hf)[1][1]
    found = 0
    for hook in known_hooks(block):
        try:
            site = model.site(f"blocks.1.{hook}")
            there = model.width(site)
        except SiteError:
            continue
        told = outline.width(model, site)
        found += told is not None
        assert told in (None, there), hook
    assert found >= 5


def test_a_model_without_weights_has_the_sites_of_the_model(tmp_path: Path) -> None:
    for arch in ("llama", "gpt2", "gpt_neox"):
        directory = str(tiny_model(tmp_path / arch, arch))
        whole, alone = load(directory, "cpu"), outlined(directory)
        assert next(alone.hf.parameters()).device.type == "meta"
        for processing in (Processing(), Processing(fold_ln=True, center_writing_weights=True)):
            for hook in ("hook_resid_post", "attn.hook_z", "mlp.hook_post"):
                name = f"blocks.1.{hook}"
                assert alone.site(name, processing) == whole.site(name, processing)


def test_a_model_of_any_size_is_outlined_without_room_for_its_weights(tmp_path: Path) -> None:
    directory = tiny_model(tmp_path / "large")
    path = directory / "config.json"
    sizes = {"hidden_size": 16384, "intermediate_size": 65536, "num_hidden_layers": 120}
    path.write_text(json.dumps({**json.loads(path.read_text()), **sizes}))
    model = outlined(str(directory))
    assert outline.width(model, model.site("blocks.119.mlp.hook_post")) == 65536
    held = sum(each.numel() for each in model.hf.parameters())
    assert held > 300e9
    on_disk = sum(each.numel() for each in model.hf.parameters() if each.device.type != "meta")
    assert on_disk < 1e7
    assert torch.get_default_device().type == "cpu"


def test_what_is_no_model_is_refused_as_it_is_when_it_is_loaded(tmp_path: Path) -> None:
    for name in (str(tmp_path), str(tmp_path / "none")):
        with pytest.raises(ModelError) as loaded:
            load(name, "cpu")
        with pytest.raises(ModelError) as alone:
            outlined(name)
        assert str(alone.value) == str(loaded.value)
