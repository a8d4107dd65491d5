"""Pieces of texts by tokenizers of every kind: joined they are the text, each at its token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae import bundled_world
from pytest_sae.activations.pieces import decoded, pieces, readable, sliced

CORPUS = ["The cat sat on the mat.", "A naïve café, 😀 hello-world", "tabs\tand\nlines  twice"]
TEXTS = [
    *CORPUS,
    "family 👨‍👩‍👧 and flags 🇩🇪🇫🇷",
    "e\u0301te\u0301 combining, \u0915\u094d\u0937 conjunct",
    "  leading and trailing  ",
    "日本語の文",
    "x",
]


def wrapped(tokenizer: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def byte_level(add_prefix_space: bool = False, trim_offsets: bool = False) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return wrapped(tokenizer)


def metaspace() -> Any:
    """As SentencePiece with byte fallback: `▁` for spaces, `<0xE2>` for what is not known."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words += sorted({"▁", *"abcdefghijklmnopqrstuvwxyzTA.,-"})
    merges = [("t", "h"), ("th", "e"), ("▁", "c"), ("a", "t"), ("▁", "the")]
    words += ["".join(pair) for pair in merges]
    ids = {word: index for index, word in enumerate(words)}
    model = models.BPE(ids, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first"), decoders.Fuse()]
    )
    return wrapped(tokenizer)


def bundled() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(Path(bundled_world()) / "model")


KINDS = {
    "bundled": bundled,
    "byte_level": byte_level,
    "byte_level_prefix": lambda: byte_level(add_prefix_space=True),
    "byte_level_trimmed": lambda: byte_level(trim_offsets=True),
    "metaspace": metaspace,
}


@pytest.fixture(scope="module", params=sorted(KINDS))
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]()


def test_joined_pieces_are_the_text(tokenizer: Any) -> None:
    for text, parts in zip(TEXTS, pieces(TEXTS, tokenizer, 10**4, True), strict=True):
        assert "".join(parts) == text
        assert len(parts) == len(tokenizer(text, add_special_tokens=False)["input_ids"])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(min_size=1).filter(lambda text: text.strip()), min_size=1, max_size=3))
def test_joined_pieces_are_any_text(tokenizer: Any, texts: list[str]) -> None:
    texts = [text for text in texts if text.isprintable()] or ["x"]
    for text, parts in zip(texts, pieces(texts, tokenizer, 10**4, True), strict=True):
        assert "".join(parts) == text


def test_a_plain_token_has_its_own_text(tokenizer: Any) -> None:
    """Wherever a token stands for letters alone, its piece is these letters and white space."""
    text = "the cat sat on the mat."
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    names = tokenizer.convert_ids_to_tokens(ids)
    for part, name in zip(pieces([text], tokenizer, 99, True)[0], names, strict=True):
        assert part.strip() == name.replace("Ġ", "").replace("▁", "")


def test_a_cut_at_the_context_cuts_the_pieces(tokenizer: Any) -> None:
    whole = pieces(CORPUS, tokenizer, 10**4, True)
    assert pieces(CORPUS, tokenizer, 6, True) == [parts[:5] for parts in whole]
    assert pieces(CORPUS, tokenizer, 5, False) == [parts[:5] for parts in whole]


def test_the_first_of_the_bytes_of_an_emoji_has_it() -> None:
    parts = pieces(["a 🦊b"], byte_level(), 99, True)[0]
    at = next(place for place, part in enumerate(parts) if "🦊" in part)
    assert parts[at].strip() == "🦊"
    assert "".join(parts[at + 1 :]) == "b"
    assert parts[at + 1] == ""


def test_without_offsets_pieces_are_what_decoding_adds() -> None:
    fast = byte_level()

    class Slow:
        """The same tokenizer, but it knows nothing of offsets."""

        is_fast = False

        def __getattr__(self, name: str) -> Any:
            return getattr(fast, name)

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            if kwargs.get("return_offsets_mapping"):
                raise NotImplementedError("return_offset_mapping is not available")
            return fast(*args, **kwargs)

    for text, slow, quick in zip(
        TEXTS, pieces(TEXTS, Slow(), 99, True), pieces(TEXTS, fast, 99, True), strict=True
    ):
        assert "".join(slow) == text
        assert len(slow) == len(quick)
    assert pieces(CORPUS[:1], Slow(), 99, True) == pieces(CORPUS[:1], fast, 99, True)


def test_offsets_that_run_backwards_are_not_believed() -> None:
    fast = byte_level()

    class Confused:
        is_fast = True

        def __getattr__(self, name: str) -> Any:
            return getattr(fast, name)

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            encoded = fast(*args, **kwargs)
            if "offset_mapping" in encoded:
                encoded["offset_mapping"] = encoded["offset_mapping"][::-1]
            return encoded

    assert pieces(CORPUS[:1], Confused(), 99, True) == pieces(CORPUS[:1], fast, 99, True)


def test_decoding_gives_a_character_with_its_last_byte() -> None:
    tokenizer = byte_level()
    ids = tokenizer("é!", add_special_tokens=False)["input_ids"]
    parts = decoded(ids, tokenizer)
    assert "".join(parts) == "é!"
    assert parts[0] in ("", "é")


@given(st.text(max_size=20), st.data())
def test_slices_cover_the_text_once_whatever_the_spans(text: str, data: st.DataObject) -> None:
    starts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=9)))
    spans = [(start, data.draw(st.integers(start, len(text)))) for start in starts]
    parts = sliced(text, spans)
    assert len(parts) == len(spans)
    if any(start < end for start, end in spans):
        assert "".join(parts) == text
    assert all(part == "" for part, (a, b) in zip(parts, spans, strict=True) if a == b)


def test_every_token_is_readable(tokenizer: Any) -> None:
    assert all(readable(range(len(tokenizer)), tokenizer))
