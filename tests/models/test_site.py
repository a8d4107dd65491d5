"""Hook names and module paths, translated by the shape of the model."""

from __future__ import annotations

import pytest

from pytest_sae.errors import SiteError
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.prove import prove
from pytest_sae.models.site import OUTSIDE
from tests.models.architectures import language_model

EXPECTED = {
    ("gpt2", "blocks.1.hook_resid_pre"): ("transformer.h.1", "input"),
    ("gpt2", "blocks.1.hook_resid_post"): ("transformer.h.1", "output"),
    ("gpt2", "blocks.1.hook_mlp_out"): ("transformer.h.1.mlp", "output"),
    ("gpt2", "blocks.1.attn.hook_z"): ("transformer.h.1.attn.c_proj", "input"),
    ("gpt2", "blocks.1.mlp.hook_post"): ("transformer.h.1.mlp.c_proj", "input"),
    ("gpt2", "blocks.1.mlp.hook_pre"): ("transformer.h.1.mlp.c_fc", "output"),
    ("gpt2", "transformer.h.2"): ("transformer.h.2", "output"),
    ("gpt2", "h.2.mlp"): ("transformer.h.2.mlp", "output"),
    ("gpt_neox", "blocks.2.hook_resid_post"): ("gpt_neox.layers.2", "output"),
    ("gpt_neox", "blocks.2.hook_attn_out"): ("gpt_neox.layers.2.attention", "output"),
    ("gpt_neox", "blocks.2.attn.hook_z"): ("gpt_neox.layers.2.attention.dense", "input"),
    ("gpt_neox", "blocks.2.mlp.hook_post"): ("gpt_neox.layers.2.mlp.dense_4h_to_h", "input"),
    ("gpt_neox", "layers.0"): ("gpt_neox.layers.0", "output"),
    ("llama", "blocks.0.attn.hook_z"): ("model.layers.0.self_attn.o_proj", "input"),
    ("llama", "blocks.0.mlp.hook_post"): ("model.layers.0.mlp.down_proj", "input"),
    ("llama", "blocks.0.ln2.hook_out"): ("model.layers.0.mlp", "input"),
    ("llama", "model.embed_tokens"): ("model.embed_tokens", "output"),
    ("opt", "blocks.0.hook_mlp_out"): ("model.decoder.layers.0.fc2", "output"),
    ("gpt_neo", "blocks.0.attn.hook_z"): ("transformer.h.0.attn.attention.out_proj", "input"),
    ("llama", "blocks.1.hook_resid_mid"): (
        "model.layers.1.post_attention_layernorm",
        "middle input",
    ),
    ("llama", "blocks.1.ln2.hook_normalized"): (
        "model.layers.1.post_attention_layernorm",
        "normalised output",
    ),
    ("gemma2", "blocks.1.ln2.hook_normalized"): (
        "model.layers.1.pre_feedforward_layernorm",
        "normalised output",
    ),
    ("llama", "model.layers.2.output"): ("model.layers.2", "output"),
    ("llama", "model.layers.2.self_attn.o_proj.input"): (
        "model.layers.2.self_attn.o_proj",
        "input",
    ),
    ("gemma2", "model.layers.1.post_feedforward_layernorm.output"): (
        "model.layers.1.post_feedforward_layernorm",
        "output",
    ),
    ("phi3", "blocks.1.mlp.hook_pre"): ("model.layers.1.mlp.gate_up_proj", "output[0:64]"),
    ("phi3", "blocks.1.mlp.hook_pre_linear"): (
        "model.layers.1.mlp.gate_up_proj",
        "output[64:128]",
    ),
    ("llama", "blocks.1.mlp.hook_pre"): ("model.layers.1.mlp.gate_proj", "output"),
    ("opt", "blocks.0.mlp.hook_in"): ("model.decoder.layers.0.fc1", "input"),
    ("bert", "blocks.2.hook_resid_post"): ("encoder.layer.2", "output"),
    ("bert", "blocks.2.hook_attn_out"): ("encoder.layer.2.attention.output.dense", "output"),
    ("bert", "blocks.2.attn.hook_z"): ("encoder.layer.2.attention.output.dense", "input"),
    ("bert", "blocks.2.mlp.hook_post"): ("encoder.layer.2.output.dense", "input"),
    ("bert", "bert.encoder.layer.2"): ("encoder.layer.2", "output"),
    ("distilbert", "blocks.0.attn.hook_z"): ("transformer.layer.0.attention.out_lin", "input"),
    ("mpnet", "blocks.0.hook_attn_out"): ("encoder.layer.0.attention.attn.o", "output"),
}


@pytest.fixture(scope="module")
def models() -> dict[str, LanguageModel]:
    return {arch: language_model(arch) for arch in {"phi", *(arch for arch, _ in EXPECTED)}}


@pytest.mark.parametrize(("arch", "hook"), EXPECTED)
def test_a_hook_name_means_a_module(models: dict[str, LanguageModel], arch: str, hook: str) -> None:
    site = models[arch].site(hook)
    assert (site.module, site.reads) == EXPECTED[arch, hook]
    assert site.hook_name == hook
    assert site.layer == (OUTSIDE if hook == "model.embed_tokens" else int(hook[_digit(hook)]))


def _digit(hook: str) -> int:
    return next(i for i, char in enumerate(hook) if char.isdigit() and hook[i - 1] == ".")


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ("blocks.3.hook_resid_post", "has 3 blocks, 0 to 2.*--sae-model"),
        ("blocks.1.attn.hook_pattern", "no module .* emits attn.hook_pattern.*hook_resid_post"),
        ("blocks.1.hook_mlp_in", "emits hook_mlp_in; .*name hook_resid_mid or mlp.hook_in"),
        ("model.layers.1.mpl", "did you mean .*model.layers.1.mlp"),
        ("hook_embed", "its blocks are model.layers.0 to model.layers.2, with self_attn, mlp"),
        ("", "no module ''"),
        ("blocks.-1.hook_resid_post", "no module"),
        ("blocks.01x.hook_resid_post", "no module"),
    ],
)
def test_what_the_model_lacks_is_told_with_what_it_has(
    models: dict[str, LanguageModel], hook: str, message: str
) -> None:
    with pytest.raises(SiteError, match=message):
        models["llama"].site(hook)


@pytest.mark.parametrize(
    ("arch", "hook", "message"),
    [
        ("phi", "hook_resid_mid", "no stream between attention and MLP: they run side by side"),
        ("bert", "hook_resid_mid", "or their norms are in the stream"),
        ("gpt2", "ln2.hook_normalized", "versions of TransformerLens differ.*transformer.h.1.ln_2"),
    ],
)
def test_what_a_kind_of_block_cannot_give_is_told(
    models: dict[str, LanguageModel], arch: str, hook: str, message: str
) -> None:
    with pytest.raises(SiteError, match=message):
        models[arch].site(f"blocks.1.{hook}")


@pytest.mark.parametrize(
    ("hook", "head", "message"),
    [
        ("blocks.1.attn.hook_z", 4, "head 4 of 4, 0 to 3"),
        ("blocks.1.attn.hook_z", -1, "head -1 of 4"),
        ("blocks.1.hook_resid_post", 0, "an SAE of one head .0. reads blocks.L.attn.hook_z"),
    ],
)
def test_a_head_that_is_not_there_is_told(
    models: dict[str, LanguageModel], hook: str, head: int, message: str
) -> None:
    with pytest.raises(SiteError, match=message):
        models["gpt2"].site(hook, head=head)


def test_the_text_blocks_of_a_model_of_images_and_texts_are_found() -> None:
    """Both halves are three blocks deep, and a text model's path lacks a part."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = language_model("gemma3_text").hf.config.to_dict()
    image = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 3, "image_size": 14,
        "num_attention_heads": 2, "patch_size": 7,
    }  # fmt: skip
    config = Gemma3Config(text_config=text, vision_config=image, mm_tokens_per_image=4)
    hf = Gemma3ForConditionalGeneration(config).eval().requires_grad_(False)
    model = LanguageModel(hf, None, "gemma3", "x", "none")
    site = model.site("model.layers.1.output")
    assert site.module == "model.language_model.layers.1"
    prove(model, site)


def test_a_splice_inside_a_block_needs_the_stream_below(models: dict[str, LanguageModel]) -> None:
    model = models["llama"]
    below = model.stream_below(model.site("blocks.2.hook_mlp_out"))
    assert below is not None
    assert (below.module, below.reads) == ("model.layers.2", "input")
    for name in ("blocks.1.hook_resid_post", "blocks.1.hook_resid_pre", "model.embed_tokens"):
        assert model.stream_below(model.site(name)) is None


def test_a_model_without_a_list_of_blocks_is_told() -> None:
    odd = language_model("llama")
    odd.hf.config.num_hidden_layers = 7
    with pytest.raises(SiteError, match=r"no list of 7 blocks.*model.layers \(3\)"):
        odd.site("blocks.0.hook_resid_post")
