"""Sentence embeddings, against explicit pooling of one text at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from pytest_sae.errors import ModelError
from pytest_sae.models import embedder
from pytest_sae.models.embedder import Embedder, load, pool

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(20))]
TEXTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w10", "w2 w1 w3"]


def tiny_encoder(directory: Path) -> Path:
    """Write a random BERT of two layers, 16 wide, and its tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=12, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(directory)
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(directory)  # fmt: skip
    return directory


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tiny_encoder(tmp_path / "encoder")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return load(str(tiny_encoder(tmp_path_factory.mktemp("encoder") / "plain")), device="cpu")


def declare(
    directory: Path, pooling: dict[str, bool], *more: str, texts: dict[str, Any] | None = None
) -> None:
    """Write what sentence-transformers writes beside an encoder."""
    kinds = ["Transformer", "Pooling", *more]
    paths = ["", *(f"{place}_{kind}" for place, kind in enumerate(kinds) if place)]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir()
    config = {"word_embedding_dimension": 16, **pooling}
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(config))
    if texts is not None:
        (directory / "sentence_bert_config.json").write_text(json.dumps(texts))


def token_vectors(model: Embedder, text: str) -> np.ndarray:
    """(token, d) of one text alone, from ids looked up by hand."""
    ids = [2, *(WORDS.index(word) for word in text.split()), 3]
    return model.hf(torch.tensor([ids])).last_hidden_state[0].double().numpy()


POOLINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "pooling_mode_mean_tokens": lambda tokens: tokens.mean(0),
    "pooling_mode_cls_token": lambda tokens: tokens[0],
    "pooling_mode_max_tokens": lambda tokens: tokens.max(0),
}


def test_without_a_declaration_the_mean_over_tokens_is_taken(plain: Embedder) -> None:
    expected = [token_vectors(plain, text).mean(0) for text in TEXTS]
    np.testing.assert_allclose(plain(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize("mode", POOLINGS)
def test_a_declared_pooling_is_done(directory: Path, mode: str) -> None:
    declare(directory, {name: name == mode for name in POOLINGS})
    model = load(str(directory), device="cpu")
    expected = [POOLINGS[mode](token_vectors(model, text)) for text in TEXTS]
    np.testing.assert_allclose(model(TEXTS), expected, atol=1e-5)


def test_a_declared_normalisation_is_done(directory: Path) -> None:
    declare(directory, {"pooling_mode_cls_token": True}, "Normalize")
    model = load(str(directory), device="cpu")
    expected = np.array([token_vectors(model, text)[0] for text in TEXTS])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(model(TEXTS), expected, atol=1e-5)


def test_case_and_length_are_as_declared(directory: Path) -> None:
    declare(
        directory,
        {"pooling_mode_mean_tokens": True},
        texts={"max_seq_length": 4, "do_lower_case": True},
    )
    model = load(str(directory), device="cpu")
    expected = token_vectors(model, "w1 w2").mean(0)
    np.testing.assert_allclose(model(["W1 W2 W3 W4 W5"])[0], expected, atol=1e-5)


def test_a_text_longer_than_the_encoder_is_cut(plain: Embedder) -> None:
    long = " ".join(f"w{i}" for i in range(19))
    cut = " ".join(f"w{i}" for i in range(10))
    np.testing.assert_allclose(plain([long]), plain([cut]), atol=1e-6)


@given(order=st.permutations(range(len(TEXTS))))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_texts_changes_no_bit(plain: Embedder, order: list[int]) -> None:
    assert plain([TEXTS[place] for place in order]).tolist() == [
        plain(TEXTS)[place].tolist() for place in order
    ]


def test_padding_is_nothing_whatever_the_batch(
    plain: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = plain(TEXTS)
    monkeypatch.setattr(embedder, "_TOKENS", 1)
    np.testing.assert_allclose(plain(TEXTS), whole, atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_pooling_sees_no_padding_on_either_side(pooling: Any) -> None:
    tokens = torch.arange(12.0).reshape(1, 3, 4) - 20
    noise = torch.full((1, 2, 4), 99.0)
    alone = pool(tokens, torch.ones(1, 3, dtype=torch.bool), pooling)
    padded = torch.cat([noise, tokens, noise], dim=1)
    mask = torch.tensor([[False, False, True, True, True, False, False]])
    torch.testing.assert_close(pool(padded, mask, pooling), alone)


def test_no_texts_have_no_embeddings(plain: Embedder) -> None:
    assert plain([]).shape == (0, 16)


@pytest.mark.parametrize(
    ("pooling", "more", "message"),
    [
        ({"pooling_mode_lasttoken": True}, (), "pooling_mode_lasttoken; known is exactly one"),
        (
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            (),
            "pooling_mode_cls_token, pooling_mode_mean_tokens; known",
        ),
        ({}, (), "asks for no pooling"),
        ({"pooling_mode_mean_tokens": True}, ("Dense",), "Transformer > Pooling > Dense; only"),
    ],
)
def test_what_is_unknown_is_refused(
    directory: Path, pooling: dict[str, bool], more: tuple[str, ...], message: str
) -> None:
    declare(directory, pooling, *more)
    with pytest.raises(ModelError, match=message):
        load(str(directory), device="cpu")


@pytest.mark.parametrize("content", ["{nope", '"text"', "[1]", "{}"])
def test_a_damaged_declaration_is_told(directory: Path, content: str) -> None:
    (directory / "modules.json").write_text(content)
    with pytest.raises(ModelError, match=r"modules\.json"):
        load(str(directory), device="cpu")


def test_a_prompt_before_every_text_is_refused(directory: Path) -> None:
    declare(directory, {"pooling_mode_mean_tokens": True})
    config = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    (directory / "config_sentence_transformers.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="prompt 'query' before every text"):
        load(str(directory), device="cpu")


def test_missing_weights_are_refused(directory: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, directory / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"weights are missing .*encoder\.layer\.1"):
        load(str(directory), device="cpu")


def test_what_is_no_encoder_is_refused(model_dir: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, T5Config, T5Model

    config = T5Config(vocab_size=64, d_model=16, d_ff=16, num_layers=1, num_heads=2, d_kv=8)
    T5Model(config).save_pretrained(tmp_path / "t5")
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    tokenizer.save_pretrained(tmp_path / "t5")
    with pytest.raises(ModelError, match=r"has a decoder\. Expected an encoder"):
        load(str(tmp_path / "t5"), device="cpu")


def test_a_missing_pooler_is_nothing(directory: Path, plain: Embedder) -> None:
    weights = load_file(directory / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("pooler.")}
    assert len(kept) < len(weights)
    save_file(kept, directory / "model.safetensors", {"format": "pt"})
    assert np.array_equal(load(str(directory), device="cpu")(TEXTS), plain(TEXTS))


def test_a_name_without_a_network_is_told() -> None:
    with pytest.raises(ModelError, match=r"nobody/nothing is neither a directory.*hf download"):
        load("nobody/nothing", device="cpu")
