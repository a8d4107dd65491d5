"""What docs/activations.md shows is run, and what it records is measured, as it stands there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pytest_sae.activations.manifest import About, RecordedText, VectorsFile
from pytest_sae.activations.recording import Recording
from pytest_sae.activations.store import Store
from tests.dictionaries.contents import largest, unit
from tests.suite.running import suite

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "activations.md").read_text(encoding="utf-8")
D, M, K = 16, 48, 4
TEXTS = tuple(f"text {number} of some, and more" for number in range(20))


def example(name: str) -> str:
    """The Python block that writes a recording of this name."""
    blocks = re.findall(r"^```python\n(.*?)^```", DOCUMENT, flags=re.DOTALL | re.MULTILINE)
    (block,) = (each for each in blocks if f'Recorder("{name}"' in each)
    return str(block)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the examples are run, with the texts that they read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    return tmp_path


def ran(name: str) -> dict[str, object]:
    """Run an example in the working directory, and return its names."""
    names: dict[str, object] = {}
    exec(compile(example(name), name, "exec"), names)
    return names


def valid_rows(directory: Path, texts: tuple[str, ...]) -> dict[str, Tensor]:
    """The valid vectors of each text, as a run reads them."""
    stream = Recording.open(directory).stream(texts, Store(None))
    return {
        texts[int(row)]: part.x[place][part.batch.valid[place]]
        for part in stream
        for place, row in enumerate(part.batch.rows)
    }


def same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for text, x in expected.items():
        torch.testing.assert_close(found[text], x)


@torch.no_grad()
def test_a_module_of_plain_torch_is_recorded_without_its_bos(here: Path) -> None:
    model = ran("plain-rec")["model"]
    assert isinstance(model, torch.nn.Sequential)
    ids = {text: torch.tensor([*text.encode()]) for text in TEXTS}
    same(valid_rows(here / "plain-rec", TEXTS), {text: model[:3](i) for text, i in ids.items()})
    recording = Recording.open(here / "plain-rec")
    assert "".join(recording.stream(TEXTS, Store(None)).pieces([3])[0]) == TEXTS[3]
    assert recording.about.prepend_bos is True


@torch.no_grad()
def test_a_state_dict_of_transformer_lens_is_recorded(here: Path) -> None:
    """The stream before block 1, by the sum of what block 0 adds, written out module by module."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    config = HookedTransformerConfig(
        n_layers=2, d_model=D, n_ctx=64, d_head=8, d_mlp=32, act_fn="gelu", d_vocab=128, seed=3
    )
    lens = HookedTransformer(config)
    torch.save(lens.state_dict(), here / "lens.pt")
    ran("lens-rec")
    expected = {}
    for text in TEXTS:
        ids = torch.tensor([[0, *text.encode()]])
        stream = lens.embed(ids) + lens.pos_embed(ids)
        block = lens.blocks[0]
        normed = block.ln1(stream)
        stream = stream + block.attn(normed, normed, normed)
        expected[text] = (stream + block.mlp(block.ln2(stream)))[0, 1:]
    same(valid_rows(here / "lens-rec", TEXTS), expected)


@pytest.fixture
def images(here: Path) -> dict[str, Tensor]:
    """Images by name, and beside them a tiny ViT as transformers saves it."""
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=D, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
        image_size=16, patch_size=4,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ViTModel(config).save_pretrained(here / "vit")
        found = {f"image {number}.png": torch.randn(3, 16, 16) for number in range(20)}
    torch.save(found, here / "images.pt")
    return found


@torch.no_grad()
def patches(here: Path, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The states of the patches after the second block, as transformers itself gives them."""
    from transformers import ViTModel

    model = ViTModel.from_pretrained(here / "vit").eval()
    return {
        name: model(pixels[None], output_hidden_states=True).hidden_states[2][0, 1:]
        for name, pixels in images.items()
    }


def test_the_patches_of_a_vision_encoder_are_recorded_without_its_class_token(
    here: Path, images: Mapping[str, Tensor]
) -> None:
    ran("vit-rec")
    same(valid_rows(here / "vit-rec", tuple(images)), patches(here, images))


@pytest.mark.whole
def test_an_sae_of_a_vision_encoder_is_measured_on_its_recording(
    here: Path, images: Mapping[str, Tensor]
) -> None:
    ran("vit-rec")
    rows = unit(M, D, seed=1)
    w = {"W_enc": rows.T.contiguous(), "W_dec": rows, "b_enc": torch.zeros(M)}
    save_file({**w, "b_dec": torch.zeros(D)}, here / "sae.safetensors")
    line = f"activation=topk,k={K},model=vit,site=layers.1:{here / 'sae.safetensors'}"
    given = (f"--sae-activations={here / 'vit-rec'}", "--sae-suite=smoke", "--sae-no-gate")
    names = "explained_variance or l0 or ce_recovered"
    run = suite(here, f"--sae=weights_only,{line}", *given, "--sae-cache=off", "-k", names)
    assert run.code == 0, run.output
    x = torch.cat(list(patches(here, images).values()))
    z = largest((x @ rows.T).clamp(min=0), K)
    error = (x - z @ rows).square().sum() / (x - x.mean(0)).square().sum()
    found = run.row("sae.safetensors", "explained_variance")["value"]
    assert found == pytest.approx(1 - float(error), abs=1e-5)
    l0 = float((z != 0).sum(1).double().mean())
    assert run.row("sae.safetensors", "l0")["value"] == pytest.approx(l0)
    assert run.row("sae.safetensors", "ce_recovered")["status"] == "not_applicable"


def test_the_tables_have_every_key_of_the_format() -> None:
    tables = DOCUMENT.split("## The format")[1]
    named = set(re.findall(r"`(\w+)`", tables))
    for form in (About, RecordedText, VectorsFile):
        assert set(form.model_fields) <= named
    assert {"x", "y", "text", "position", "valid", "token"} <= named
