"""Encoders: loaded without a head, framed by CLS and SEP, and measured but for predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pytest_sae.activations.latents import Latents
from pytest_sae.activations.store import Store
from pytest_sae.dictionaries.load import load as load_dictionary
from pytest_sae.errors import ModelError
from pytest_sae.measure import core
from pytest_sae.measure.scr_and_tpp import PooledTask
from pytest_sae.models.load import load
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.prove import check_fit, prove
from pytest_sae.models.site import Site
from pytest_sae.models.tokenize import batches, tokenize
from tests.measure.given import given_of
from tests.models.encoder import tiny_encoder
from tests.tiny import tiny_sae

TEXTS = tuple(f"w{i} w{i % 7} w{(3 * i) % 11} w{(5 * i) % 13}" for i in range(1, 41))
BEHAVIOUR = {
    "ce_clean", "ce_spliced", "ce_mean_ablated", "ce_zero_ablated", "kl", "ce_recovered",
    "ce_recovered.zero",
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load(str(tiny_encoder(tmp_path_factory.mktemp("encoder"))), device="cpu")


def latents(model: LanguageModel, tmp_path: Path, hook: str, **config: object) -> Latents:
    path = tiny_sae(tmp_path / "sae", hook=hook, model=model.name, **config)
    dictionary = load_dictionary(str(path))
    site = model.site(hook)
    check_fit("sae", dictionary.d_in, model, site)
    prove(model, site)
    return Latents(dictionary, model, site, Store(None), 16, lambda *_: None)


@pytest.mark.parametrize("arch", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("masked", [False, True])
def test_an_encoder_is_loaded_without_a_head(tmp_path: Path, arch: str, masked: bool) -> None:
    """The witness: transformers' own model, given the text as its tokenizer frames it."""
    from transformers import AutoModel

    directory = tiny_encoder(tmp_path / "m", arch, masked)
    model = load(str(directory), device="cpu")
    assert not model.predicts
    assert "MaskedLM" not in type(model.hf).__name__
    batch = batches(["w1 w2 w3", "w4 w5"], model.tokenizer, 16, True)[0]
    with torch.no_grad():
        given = model.tokenizer(["w4 w5", "w1 w2 w3"], padding=True, return_tensors="pt")
        kept = {name: given[name] for name in ("input_ids", "attention_mask")}
        expected = AutoModel.from_pretrained(directory).eval()(**kept).last_hidden_state
    torch.testing.assert_close(model.outputs(batch)[batch.attention], expected[batch.attention])
    for hook in ("blocks.2.hook_resid_post", "blocks.1.hook_mlp_out", "blocks.0.attn.hook_z"):
        prove(model, model.site(hook))


def test_a_block_of_bert_gives_the_stream_after_its_last_norm(model: LanguageModel) -> None:
    batch = batches(TEXTS[:5], model.tokenizer, 16, True)[0]
    last = model.site("blocks.2.hook_resid_post")
    assert torch.equal(model.capture(batch, [last])[last], model.outputs(batch))


def test_a_decoder_of_berts_kind_predicts(tmp_path: Path) -> None:
    from transformers import BertConfig, BertLMHeadModel

    directory = tiny_encoder(tmp_path / "m")
    config = BertConfig.from_pretrained(directory, is_decoder=True)
    BertLMHeadModel(config).save_pretrained(directory)
    assert load(str(directory), device="cpu").predicts


def test_an_encoder_gives_no_logits(model: LanguageModel) -> None:
    batch = batches(["w1 w2"], model.tokenizer, 16, True)[0]
    for ask in (lambda: model.logits(batch), lambda: model.vocab):
        with pytest.raises(ModelError, match="an encoder model predicts no next token"):
            ask()
    with pytest.raises(ModelError, match="predicts no next token"):
        model.logits_from(batch, Site("encoder.layer.0", "output", 0, "x", True), torch.zeros(1))


@pytest.mark.parametrize("prepend_bos", [True, False])
def test_cls_and_sep_frame_a_text_and_are_never_valid(
    model: LanguageModel, prepend_bos: bool
) -> None:
    tokens = tokenize(["w0 w1", "w2 w3 w4 w5"], model.tokenizer, 5, prepend_bos)
    assert tokens.ids == [[1, 4, 5, 2], [1, 6, 7, 8, 2]], "SEP survives the cut"
    assert (tokens.prefix, tokens.suffix) == (1, 1)
    batch = batches(["w0 w1", "w2 [SEP] w4"], model.tokenizer, 5, prepend_bos)[0]
    assert batch.valid.tolist() == [
        [False, True, True, False, False],
        [False, True, False, True, False],
    ]
    assert batch.attention.tolist() == [[True, True, True, True, False], [True] * 5]


def test_robertas_positions_begin_behind_its_paddings(tmp_path: Path) -> None:
    directory = tiny_encoder(tmp_path / "m", "roberta", max_position_embeddings=12)
    model = load(str(directory), device="cpu")
    model.outputs(batches(["w1 " * 20], model.tokenizer, 10, True)[0])
    with pytest.raises(ModelError, match="longer than the 10 positions"):
        model.outputs(batches(["w1 " * 20], model.tokenizer, 11, True)[0])


@pytest.mark.parametrize(
    "hook", ["blocks.1.hook_resid_post", "encoder.layer.1", "blocks.1.hook_mlp_out"]
)
def test_the_core_family_measures_all_but_predictions(
    model: LanguageModel, tmp_path: Path, hook: str
) -> None:
    found = core.measure(given_of(latents(model, tmp_path, hook), corpus=TEXTS))
    by_name = {each.metric: each for each in found}
    assert {name for name, each in by_name.items() if each.status == "not_applicable"} >= BEHAVIOUR
    for name in BEHAVIOUR:
        assert by_name[name].reason == "an encoder model predicts no next token"
    for name in ("explained_variance", "mse", "l0", "dead_share", "cosine"):
        assert by_name[name].status == "ok", name
    assert by_name["explained_variance"].n == {"texts": 40, "tokens": 160}
    special = by_name["mse"].details["groups"]["special"]
    assert special["tokens"] == 80


def test_pooled_latents_and_the_inputs_of_scr(model: LanguageModel, tmp_path: Path) -> None:
    """The witness: means over the words of each text, one text at a time."""
    mine = latents(model, tmp_path, "blocks.1.hook_resid_post")
    view = PooledTask.of(mine, TEXTS, TEXTS[:20], TEXTS[20:])
    site = mine.site
    for text in (0, 7):
        batch = batches([TEXTS[text]], model.tokenizer, 16, True)[0]
        x = model.capture(batch, [site])[site][0, 1:-1]
        np.testing.assert_allclose(view.x_train[text], x.mean(0), rtol=1e-4, atol=1e-5)
        z = mine.dictionary.encode(x).mean(0).numpy()
        np.testing.assert_allclose(view.z_train[[text]].toarray()[0], z, rtol=1e-3, atol=1e-4)
    assert view.x_test.shape == (20, 32)
