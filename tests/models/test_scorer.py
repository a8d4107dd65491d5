"""Losses after a prefix, against transformers run on one text at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.errors import DataError, ModelError
from pytest_sae.models import scorer
from pytest_sae.models.load import load
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.scorer import losses
from tests.tiny import tiny_model

PAIRS = [
    ("w1 w2 w3\n", "w4 w5 w6"),
    ("", "w4 w5 w6"),
    ("w9\n", "w4"),
    ("w1 w2 w3\n", "w7 w8 w9 w10 w11 w12"),
    ("w1 w2 w3\n", "w4 w5 w6"),
]


@pytest.fixture(scope="module")
def model(model_dir: Path) -> LanguageModel:
    return load(str(model_dir), device="cpu")


def one_at_a_time(model: LanguageModel, prefix: str, text: str) -> float:
    """The loss that transformers computes by itself, with the prefix masked out."""
    before = model.tokenizer(prefix)["input_ids"]  # <bos> and the prefix
    own = model.tokenizer(text)["input_ids"][1:]
    labels = torch.tensor([[-100] * len(before) + own])
    return float(model.hf(torch.tensor([before + own]), labels=labels).loss)


@pytest.mark.parametrize("arch", ["llama", "gpt_neox", "gpt2"])
def test_a_loss_is_that_of_one_text_alone(tmp_path: Path, arch: str) -> None:
    model = load(str(tiny_model(tmp_path / arch, arch)), device="cpu")
    expected = [one_at_a_time(model, *pair) for pair in PAIRS]
    np.testing.assert_allclose(losses(model, PAIRS), expected, rtol=1e-5)


def test_batches_of_any_size_give_the_same_losses(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = losses(model, PAIRS)
    for tokens in (1, 12, 20):
        monkeypatch.setattr(scorer, "_LOGITS", tokens * model.vocab)
        np.testing.assert_allclose(losses(model, PAIRS), whole, rtol=1e-5)


@given(order=st.permutations(range(len(PAIRS))))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_pairs_changes_no_bit(model: LanguageModel, order: list[int]) -> None:
    assert losses(model, [PAIRS[place] for place in order]).tolist() == [
        losses(model, PAIRS)[place] for place in order
    ]


def test_what_stands_before_a_text_changes_its_loss(model: LanguageModel) -> None:
    told, other = losses(model, [("w4 w5 w6\n", "w4 w5 w6"), ("w20\n", "w4 w5 w6")])
    assert told != other


def test_no_pairs_have_no_losses(model: LanguageModel) -> None:
    assert losses(model, []).shape == (0,)


def test_a_text_that_does_not_fit_is_told_with_its_lengths(model: LanguageModel) -> None:
    long = " ".join(["w1"] * 120)
    with pytest.raises(ModelError, match=r"explanation of 121 tokens and a context of 9.*128 pos"):
        losses(model, [(long, "w1 " * 9)])


def test_a_text_without_tokens_is_told(model: LanguageModel) -> None:
    with pytest.raises(DataError, match="makes no token of the context"):
        losses(model, [("w1", "  ")])


def test_a_model_without_bos_and_eos_needs_a_prefix(model_dir: Path) -> None:
    model = load(str(model_dir), device="cpu")
    model.tokenizer.bos_token = model.tokenizer.eos_token = None
    assert np.isfinite(losses(model, [("w1", "w2")])).all()
    with pytest.raises(ModelError, match="neither BOS nor EOS"):
        losses(model, [("", "w2")])
