"""Pooled means against one text at a time, unpadded, in a loop over its tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.activations import codes, pooled
from pytest_sae.activations.pooled import ablated_means, pool
from pytest_sae.activations.store import Store
from pytest_sae.activations.stream import ActivationBatch, TokenActivations
from pytest_sae.activations.work import Work
from pytest_sae.dictionaries.base import Scaled
from pytest_sae.dictionaries.load import load
from pytest_sae.errors import DataError
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.tokenize import Batch, tokenize
from tests.activations.witness import TinyDictionary, texts
from tests.tiny import tiny_sae

SETS = [torch.tensor([]).long(), torch.tensor([3]), torch.tensor([0, 7, 31, 64, 95])]


@pytest.fixture
def activations(model: LanguageModel) -> TokenActivations:
    site = model.site("blocks.1.hook_resid_post")
    return TokenActivations(model, site, texts(), 16, True, Store(None), 100)


def alone(activations: TokenActivations) -> list[torch.Tensor]:
    """(token, d) of each text: run by itself, unpadded, special tokens taken out by hand."""
    model, found = activations.model, []
    for text in activations.texts:
        ids = torch.tensor(tokenize([text], model.tokenizer, 16, True).ids)
        ones = torch.ones_like(ids, dtype=torch.bool)
        x = model.capture(Batch(ids, ones, ones, torch.tensor([0])), [activations.site])
        found.append(x[activations.site][0][[token > 2 for token in ids[0].tolist()]])
    return found


def test_means_equal_an_explicit_loop(activations: TokenActivations) -> None:
    dictionary = TinyDictionary()
    result = pool(activations, dictionary, len(activations.texts))
    for row, x in enumerate(alone(activations)):
        z = sum(dictionary.encode(token[None])[0] for token in x) / len(x)
        np.testing.assert_allclose(result.x[row], x.mean(0).numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(result.z[[row]].toarray()[0], z.numpy(), rtol=1e-3, atol=1e-4)
        assert result.tokens[row] == len(x)
    assert result.x.dtype == result.z.dtype == np.float32
    assert result.z.shape == (len(activations.texts), dictionary.d_sae)


@pytest.mark.parametrize("chunk", [3, 10_000])
def test_largest_and_last_latents_equal_an_explicit_loop(
    activations: TokenActivations, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dictionary = TinyDictionary()
    monkeypatch.setattr(pooled, "chunk_tokens", lambda _: chunk)  # texts straddle chunks of three
    result = pool(activations, dictionary, len(activations.texts))
    for row, x in enumerate(alone(activations)):
        z = torch.stack([dictionary.encode(token[None])[0] for token in x]).numpy()
        found = result.z_max[[row]].toarray()[0], result.z_last[[row]].toarray()[0]
        np.testing.assert_allclose(found[0], z.max(0), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found[1], z[-1], rtol=1e-3, atol=1e-4)


def test_each_valid_token_is_encoded_once(activations: TokenActivations) -> None:
    dictionary, work = TinyDictionary(), Work()
    result = pool(activations, dictionary, len(activations.texts), work)
    assert dictionary.encoded_tokens == work.encoded_tokens == result.tokens.sum()
    assert work.encode_passes == len(activations.batches)
    assert work.seconds["pool"] > 0


def test_pooling_twice_gives_the_same_bits(activations: TokenActivations) -> None:
    first, second = (pool(activations, TinyDictionary(), 23) for _ in range(2))
    assert np.array_equal(first.x, second.x)
    assert (first.z != second.z).nnz == 0


def test_chunks_of_tokens_may_cut_through_texts(
    activations: TokenActivations, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pool(activations, TinyDictionary(), 23)
    monkeypatch.setattr(codes, "chunk_tokens", lambda dictionary: 3)
    cut = pool(activations, TinyDictionary(), 23)
    np.testing.assert_allclose(cut.z.toarray(), whole.z.toarray(), rtol=1e-5, atol=1e-6)
    assert np.array_equal(cut.x, whole.x)


@pytest.mark.parametrize("entries", [1, 300])
def test_how_many_texts_are_added_up_at_once_changes_no_bit(
    entries: int, activations: TokenActivations, monkeypatch: pytest.MonkeyPatch
) -> None:
    dictionary, (work, blocks) = TinyDictionary(), (Work(), Work())
    whole = pool(activations, dictionary, 23, work)
    monkeypatch.setattr(pooled, "ENTRIES", entries)
    cut = pool(activations, dictionary, 23, blocks)
    for name in ("z", "z_max", "z_last"):
        assert (getattr(cut, name) != getattr(whole, name)).nnz == 0
    assert np.array_equal(cut.x, whole.x)
    assert (blocks.encode_passes, blocks.encoded_tokens) == (
        work.encode_passes,
        work.encoded_tokens,
    )


def test_without_a_dictionary_only_activations_are_pooled(activations: TokenActivations) -> None:
    result = pool(activations, None, 23)
    assert result.z.shape == (23, 0)
    assert np.array_equal(result.x, pool(activations, TinyDictionary(), 23).x)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_rows_come_back_in_the_order_of_the_texts(lengths: list[int], random) -> None:
    """Texts dealt to batches at random; each token's first coordinate is its text's number."""
    order = list(range(len(lengths)))
    random.shuffle(order)
    parts = [_part(group, lengths) for group in np.array_split(order, 3) if len(group)]
    dictionary = TinyDictionary()
    result = pool(parts, dictionary, len(lengths))
    assert np.allclose(result.x[:, 0], np.arange(len(lengths)))
    assert result.tokens.tolist() == lengths
    np.testing.assert_allclose(
        result.z.toarray(), dictionary.encode(torch.from_numpy(result.x)).numpy(), atol=1e-4
    )


def _part(rows: np.ndarray, lengths: list[int]) -> ActivationBatch:
    own = torch.tensor([lengths[row] for row in rows])
    valid = torch.arange(int(own.max()) + 2) < own[:, None]
    x = torch.full((*valid.shape, 32), torch.nan)  # whatever is not valid must never be read
    for i, row in enumerate(rows):
        x[i, : own[i]] = 0.5
        x[i, : own[i], 0] = float(row)
    return ActivationBatch(Batch(valid.long(), valid, valid, torch.from_numpy(rows).long()), x)


def test_a_text_without_a_valid_token_is_named() -> None:
    part = _part(np.array([0, 1]), [2, 3])
    part.batch.valid[1] = False
    with pytest.raises(DataError, match=r"1 texts have no valid token .the first is text 1"):
        pool([part], TinyDictionary(), 2)


def test_a_missing_text_is_named() -> None:
    with pytest.raises(DataError, match="the first is text 2"):
        pool([_part(np.array([0, 1]), [2, 3])], None, 3)


def test_ablated_means_equal_a_loop_over_tokens(activations: TokenActivations) -> None:
    dictionary = TinyDictionary()
    result = ablated_means(activations, dictionary, SETS)
    assert result.shape == (len(SETS), 23, 32)
    for row, x in enumerate(alone(activations)):
        z = dictionary.encode(x)
        for number, latents in enumerate(SETS):
            cut = z.clone()
            cut[:, latents] = 0
            kept = x - (z - cut) @ dictionary.decoder_rows
            np.testing.assert_allclose(
                result[number, row], kept.mean(0).numpy(), rtol=1e-3, atol=1e-4
            )


def test_ablating_is_linear_in_the_pooled_latents(activations: TokenActivations) -> None:
    """The identity that METRICS.md rests on."""
    dictionary = TinyDictionary()
    result = pool(activations, dictionary, 23)
    explicit = ablated_means(activations, dictionary, SETS)
    for number, latents in enumerate(SETS):
        z = result.z.toarray()[:, latents.numpy()]
        expected = result.x - z @ dictionary.decoder_rows[latents].numpy()
        np.testing.assert_allclose(explicit[number], expected, rtol=1e-4, atol=1e-5)


def test_what_is_ablated_may_be_written_elsewhere(
    activations: TokenActivations, model: LanguageModel
) -> None:
    dictionary = TinyDictionary()
    written = TokenActivations(
        model, model.site("blocks.2.hook_mlp_out"), texts(), 16, True, activations.store, 100
    )
    result = ablated_means(activations, dictionary, SETS, written)
    np.testing.assert_allclose(result[0], pool(written, None, 23).x, rtol=1e-4, atol=1e-5)
    assert not np.allclose(result[2], result[0])


@pytest.mark.parametrize("family", ["topk", "jumprelu", "standard"])
def test_real_families_obey_the_identity(
    activations: TokenActivations, sae_dirs: dict[str, Path], family: str
) -> None:
    dictionary = load(sae_dirs[family])
    result = pool(activations, dictionary, 23)
    explicit = ablated_means(activations, dictionary, SETS)
    rows = dictionary.decoder_rows
    assert rows is not None
    for number, latents in enumerate(SETS):
        z = result.z.toarray()[:, latents.numpy()]
        expected = result.x - z @ rows[latents].detach().numpy()
        np.testing.assert_allclose(explicit[number], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["layer_norm", "constant_norm_rescale"])
def test_a_scale_of_each_token_is_part_of_what_is_pooled(
    activations: TokenActivations, tmp_path: Path, model_dir: Path, norm: str
) -> None:
    dictionary = load(tiny_sae(tmp_path, "topk", model=str(model_dir), normalize_activations=norm))
    assert dictionary.decoder_rows is None
    assert isinstance(dictionary, Scaled)
    result = pool(activations, dictionary, 23)
    explicit = ablated_means(activations, dictionary, SETS)
    rows = dictionary.scaled_rows.detach().numpy()
    for number, latents in enumerate(SETS):
        taken = result.z_written.toarray()[:, latents.numpy()] @ rows[latents.numpy()]
        np.testing.assert_allclose(explicit[number], result.x - taken, rtol=1e-4, atol=1e-4)
    assert not np.allclose(result.z_written.toarray(), result.z.toarray())


def test_a_decoder_that_is_affine_has_no_means_of_its_own(activations: TokenActivations) -> None:
    result = pool(activations, TinyDictionary(), 23)
    assert result.z_written is result.z


def test_only_texts_that_are_wanted_are_decoded(activations: TokenActivations) -> None:
    dictionary = TinyDictionary()
    everything = ablated_means(activations, dictionary, SETS)
    before = dictionary.encoded_tokens
    some = np.array([20, 3, 3, 11])
    found = ablated_means(activations, dictionary, SETS, only=some)
    np.testing.assert_allclose(found, everything[:, some], rtol=1e-6, atol=1e-6)
    own = [len(tokens) for number, tokens in enumerate(alone(activations)) if number in some]
    assert dictionary.encoded_tokens - before == sum(own)
