"""Promoted tokens against the model's own norm and unembedding run on a huge direction."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pytest_sae.activations.latents import Latents
from pytest_sae.activations.store import Store
from pytest_sae.measure import logit_lens as module
from pytest_sae.measure.logit_lens import final_norm, norm_scale, top_tokens
from pytest_sae.models.load import load as load_model
from pytest_sae.models.model import LanguageModel
from tests.activations.witness import TinyDictionary
from tests.tiny import ARCHS, tiny_model

NORMS = {"llama": "model.norm", "gpt2": "transformer.ln_f", "gpt_neox": "gpt_neox.final_layer_norm"}


def fresh(directory: Path, arch: str = "llama") -> LanguageModel:
    """A model whose final norm has weights and biases of its own."""
    model = load_model(str(tiny_model(directory, arch)), device="cpu")
    generator = torch.Generator().manual_seed(5)
    for parameter in model.hf.get_submodule(NORMS[arch]).parameters():
        parameter.data = 0.2 + 2 * torch.rand(parameter.shape, generator=generator)
    return model


@pytest.fixture(params=ARCHS)
def any_model(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, LanguageModel]:
    return request.param, fresh(tmp_path, request.param)


def latents_of(
    model: LanguageModel, site: str = "blocks.1.hook_resid_post", width: int = 32
) -> Latents:
    dictionary = TinyDictionary(d_in=width)
    return Latents(dictionary, model, model.site(site), Store(None), 32, lambda *_: None)


def test_tokens_are_those_the_model_itself_raises_most(
    any_model: tuple[str, LanguageModel],
) -> None:
    """A stream that is d and nothing else, against its opposite: biases cancel."""
    arch, model = any_model
    latents = latents_of(model)
    found = top_tokens(latents, [0, 50, 95, 3], 6)
    norm, unembed = model.hf.get_submodule(NORMS[arch]), model.hf.get_output_embeddings()
    for index, tokens in zip([0, 50, 95, 3], found, strict=True):
        d = 1e4 * latents.dictionary.decoder_rows[index][None]
        with torch.no_grad():
            raised = (unembed(norm(d)) - unembed(norm(-d)))[0]
        top = raised.topk(6).indices.tolist()
        assert tokens == tuple(model.tokenizer.convert_ids_to_tokens(top))


def test_the_final_norm_is_the_models_own(any_model: tuple[str, LanguageModel]) -> None:
    arch, model = any_model
    norm = final_norm(model.hf)
    assert norm is model.hf.get_submodule(NORMS[arch])
    torch.testing.assert_close(norm_scale(norm, torch.zeros(32)), norm.weight, rtol=1e-4, atol=1e-4)


def test_a_final_norm_that_is_declared_before_the_blocks_is_found() -> None:
    from transformers import AutoModelForCausalLM, OPTConfig

    config = OPTConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, ffn_dim=64)
    config.num_attention_heads, config.word_embed_proj_dim = 4, 32
    hf = AutoModelForCausalLM.from_config(config)
    assert final_norm(hf) is hf.model.decoder.final_layer_norm


def test_a_weight_that_is_an_offset_from_one_is_understood() -> None:
    from transformers.models.gemma.modeling_gemma import GemmaRMSNorm

    norm = GemmaRMSNorm(32)
    norm.weight.data = torch.rand(32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scale = norm_scale(norm, torch.zeros(32))
    torch.testing.assert_close(scale, 1 + norm.weight.data, rtol=1e-4, atol=1e-4)


def test_blocks_of_latents_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latents = latents_of(fresh(tmp_path))
    whole = top_tokens(latents, range(96))
    monkeypatch.setattr(module, "_BLOCK_BYTES", 7 * 4 * 64)
    assert top_tokens(latents, range(96)) == whole
    assert all(len(tokens) == 10 for tokens in whole)


@pytest.mark.parametrize(
    ("site", "width", "adds"),
    [
        ("blocks.1.hook_resid_pre", 32, True),
        ("blocks.1.hook_resid_mid", 32, True),
        ("blocks.1.hook_mlp_out", 32, True),
        ("blocks.1.hook_attn_out", 32, True),
        ("blocks.1.attn.hook_z", 32, False),
        ("blocks.1.ln1.hook_out", 32, False),
        ("blocks.1.mlp.hook_post", 64, False),
    ],
)
def test_only_what_is_added_to_the_stream_promotes_tokens(
    tmp_path: Path, site: str, width: int, adds: bool
) -> None:
    found = top_tokens(latents_of(fresh(tmp_path), site, width), [1, 2])
    assert [bool(tokens) for tokens in found] == [adds, adds]


def test_a_transcoder_promotes_by_what_it_writes(tmp_path: Path) -> None:
    latents = latents_of(fresh(tmp_path), "blocks.1.ln2.hook_out")
    assert top_tokens(latents, [0]) == [()]
    latents.written_site = latents.model.site("blocks.1.hook_mlp_out")
    assert len(top_tokens(latents, [0])[0]) == 10


def test_without_an_unembedding_nothing_is_promoted(tmp_path: Path) -> None:
    model = fresh(tmp_path)
    model.hf.set_output_embeddings(None)
    assert top_tokens(latents_of(model), [0, 1, 2]) == [(), (), ()]


def test_rows_of_the_unembedding_without_a_token_are_left_out(tmp_path: Path) -> None:
    model = fresh(tmp_path)
    row = TinyDictionary().decoder_rows[0]
    scale = norm_scale(final_norm(model.hf), row)
    padded = torch.nn.Linear(32, 70, bias=False)
    padded.weight.data = torch.cat(
        [model.hf.get_output_embeddings().weight.data, 99 * (scale * row).expand(6, -1)]
    )
    expected = top_tokens(latents_of(model), [0])
    model.hf.set_output_embeddings(padded)
    assert top_tokens(latents_of(model), [0]) == expected
