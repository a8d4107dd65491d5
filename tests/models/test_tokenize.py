"""Batches are a pure function of texts, tokenizer and sizes, and hold every text once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.errors import DataError, ModelError
from pytest_sae.models.tokenize import Batch, batches, tokenize
from tests.tiny import tiny_model

WORDS = st.integers(0, 59).map(lambda i: f"w{i}")
TEXTS = st.lists(st.lists(WORDS, min_size=1, max_size=30).map(" ".join), min_size=1, max_size=25)


@pytest.fixture(scope="module")
def tokenizer(model_dir: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_dir)


def without(tokenizer: Any, **tokens: str | None) -> Any:
    """A copy of the tokenizer whose special tokens are changed; it still puts <bos> in front."""
    from transformers import PreTrainedTokenizerFast

    special = {
        "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"
    }  # fmt: skip
    special = {name: token for name, token in {**special, **tokens}.items() if token is not None}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, **special)


def bare(tokenizer: Any, **tokens: str | None) -> Any:
    """The same, putting nothing in front (as GPT-2's and Pythia's do)."""
    from tokenizers import Tokenizer, processors

    copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    copy.post_processor = processors.Sequence([])
    holder = type("Holder", (), {"backend_tokenizer": copy})
    return without(holder, **tokens)


def rows(found: list[Batch]) -> dict[int, list[int]]:
    """For each text, the ids that the attention mask shows."""
    return {
        int(row): batch.ids[i][batch.attention[i]].tolist()
        for batch in found
        for i, row in enumerate(batch.rows)
    }


@settings(deadline=None, max_examples=60)
@given(TEXTS, st.integers(2, 40), st.booleans(), st.integers(1, 300))
def test_every_text_stands_in_exactly_one_batch(
    tokenizer: Any, texts: list[str], context: int, prepend_bos: bool, size: int
) -> None:
    found = batches(texts, tokenizer, context, prepend_bos, size)
    seen = torch.cat([batch.rows for batch in found])
    assert sorted(seen.tolist()) == list(range(len(texts)))
    for row, ids in rows(found).items():
        words = [int(word[1:]) + 3 for word in texts[row].split()]
        assert ids == ([1] * prepend_bos + words)[:context]
    for batch in found:
        assert batch.ids.numel() <= size or len(batch.rows) == 1
        assert torch.equal(batch.valid, batch.attention & (batch.ids > 2))
        assert batch.attention[:, 0].all()
        assert batch.attention[-1].all()


@settings(deadline=None, max_examples=20)
@given(TEXTS, st.integers(1, 300))
def test_the_same_texts_make_the_same_batches(tokenizer: Any, texts: list[str], size: int) -> None:
    first, second = (batches(texts, tokenizer, 16, True, size) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        for name in ("ids", "attention", "valid", "rows"):
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_lengths_are_bucketed_so_that_little_is_padded(tokenizer: Any) -> None:
    texts = ["w1 " * (1 + 7 * i % 60) for i in range(400)]
    found = batches(texts, tokenizer, 64, True, 512)
    padded = sum(batch.attention.numel() for batch in found)
    assert padded <= 1.1 * sum(int(batch.attention.sum()) for batch in found)


def test_bos_is_added_once_and_removed_on_request(tokenizer: Any) -> None:
    plain = bare(tokenizer)
    for t in (tokenizer, plain):
        assert tokenize(["w0 w1"], t, 8, True).ids == [[1, 3, 4]]
        assert tokenize(["w0 w1"], t, 8, False).ids == [[3, 4]]
    assert tokenize(["w0 w1 w2"], plain, 3, True).ids == [[1, 3, 4]], "BOS survives the cut"


def test_what_a_tokenizer_appends_takes_no_room(tokenizer: Any) -> None:
    from tokenizers import processors

    ending = bare(tokenizer)
    ending.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 2)]
    )
    assert tokenize(["w0 w1"], ending, 8, True).ids == [[1, 3, 4]]


def test_prefixes_of_other_kinds_stay_and_are_never_valid(tokenizer: Any) -> None:
    from tokenizers import processors

    odd = bare(tokenizer)
    odd.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="w9 $A", special_tokens=[("w9", 12)]
    )
    batch = batches(["w0 w9"], odd, 8, True)[0]
    assert batch.ids.tolist() == [[1, 12, 3, 12]]
    assert batch.valid.tolist() == [[False, False, True, True]]


def test_without_a_bos_token_eos_stands_in(tokenizer: Any) -> None:
    found = batches(["w0"], bare(tokenizer, bos_token=None), 8, True)[0]
    assert found.ids.tolist() == [[2, 3]]
    assert found.valid.tolist() == [[False, True]]


def test_without_bos_and_eos_a_wanted_bos_is_an_error(tokenizer: Any) -> None:
    neither = bare(tokenizer, bos_token=None, eos_token=None)
    assert tokenize(["w0"], neither, 8, False).ids == [[3]]
    with pytest.raises(ModelError, match=r"neither a BOS nor an EOS.*prepend_bos to false"):
        tokenize(["w0"], neither, 8, True)


@pytest.mark.parametrize("pad", ["<eos>", "<unk>", None])
def test_padding_may_be_any_token_or_none(tokenizer: Any, pad: str | None) -> None:
    batch = batches(["w0 w1", "w2"], without(tokenizer, pad_token=pad), 8, True)[0]
    assert batch.rows.tolist() == [1, 0]
    assert batch.attention.tolist() == [[True, True, False], [True, True, True]]
    assert batch.valid.tolist() == [[False, True, False], [False, True, True]]


def test_unknown_words_count_even_where_padding_shares_their_id(tokenizer: Any) -> None:
    shared = without(tokenizer, pad_token="<unk>")
    assert batches(["w0 nonsense"], shared, 8, True)[0].valid.tolist() == [[False, True, True]]


def test_special_tokens_inside_a_text_are_not_valid(tokenizer: Any) -> None:
    batch = batches(["w0 <eos> w1 <pad> <bos>"], tokenizer, 8, True)[0]
    assert batch.attention.all()
    assert batch.valid.tolist() == [[False, True, False, True, False, False]]


@pytest.mark.parametrize("text", ["", "   ", "<eos>", "<bos> <pad>"])
def test_a_text_without_a_valid_token_is_named(tokenizer: Any, text: str) -> None:
    with pytest.raises(DataError, match="text 1 "):
        batches(["w0", text], tokenizer, 8, True)


def test_a_text_whose_words_are_cut_off_is_named(tokenizer: Any) -> None:
    with pytest.raises(DataError, match="text 0 "):
        batches(["<eos> w0"], tokenizer, 2, True)


def test_a_context_without_room_is_an_error(tokenizer: Any) -> None:
    with pytest.raises(DataError, match="a context of 1 leaves no room for text: use 2"):
        batches(["w0"], tokenizer, 1, True)


def test_no_texts_make_no_batches(tokenizer: Any) -> None:
    assert batches([], tokenizer, 8, True) == []


def test_a_long_text_is_cut_without_a_word(
    tokenizer: Any, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tokenizer.model_max_length = 16
    assert len(tokenize(["w0 " * 5000], tokenizer, 16, True).ids[0]) == 16
    assert "longer than" not in "".join(capfd.readouterr())


def test_three_architectures_share_the_tokenizer(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    for arch in ("gpt2", "gpt_neox"):
        loaded = AutoTokenizer.from_pretrained(tiny_model(tmp_path / arch, arch))
        assert tokenize(["w0"], loaded, 8, True).ids == [[1, 3]]
