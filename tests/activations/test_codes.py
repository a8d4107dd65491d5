"""Kept codes are what encoding again would give, and are made once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytest_sae.activations.codes import Codes, Keeper, Room
from pytest_sae.activations.pooled import encoded
from pytest_sae.activations.store import Store
from pytest_sae.activations.stream import TokenActivations
from pytest_sae.activations.work import Work
from pytest_sae.models.model import LanguageModel
from tests.activations.witness import TinyDictionary, texts


@pytest.fixture
def stream(model: LanguageModel) -> TokenActivations:
    site = model.site("blocks.1.hook_resid_post")
    return TokenActivations(model, site, texts(40), 24, True, Store(None), 100)


def test_dense_codes_are_the_latents_of_the_tokens_of_a_mask(stream: TokenActivations) -> None:
    dictionary, rng = TinyDictionary(), np.random.default_rng(0)
    for part in stream:
        codes = Codes.of(part, dictionary, Work())
        some = part.batch.attention & torch.from_numpy(rng.random(part.batch.shape) < 0.5)
        for mask in (part.batch.attention, part.batch.valid, some):
            if not mask.any():
                continue
            found = torch.cat(list(codes.dense(mask, dictionary)))
            torch.testing.assert_close(found, dictionary.encode(part.x[mask]))


def test_a_batch_with_codes_is_not_encoded_again(stream: TokenActivations) -> None:
    dictionary, work, keeper = TinyDictionary(), Work(), Keeper(Room())
    first = [z for part in keeper.coded(stream, dictionary, work) for z in _latents(part)]
    once = dictionary.encoded_tokens
    again = [z for part in keeper.coded(stream, dictionary, work) for z in _latents(part)]
    assert dictionary.encoded_tokens == once
    assert work.encoded_repeats == 0
    assert work.bytes_kept > 0
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    plain = torch.cat([dictionary.encode(part.x_valid) for part in stream])
    torch.testing.assert_close(torch.cat(first), plain)


def _latents(part):
    return [z for _, z, _ in encoded(part, TinyDictionary())]


def test_codes_too_large_to_keep_are_made_again_and_counted(stream: TokenActivations) -> None:
    dictionary, work, keeper = TinyDictionary(), Work(), Keeper(Room(1000))
    for _ in range(2):
        list(keeper.coded(stream, dictionary, work))
    assert work.encoded_texts == 80
    assert work.encoded_repeats == 40
    assert work.bytes_kept == 0


def test_an_abandoned_pass_keeps_nothing(stream: TokenActivations) -> None:
    dictionary, work, keeper = TinyDictionary(), Work(), Keeper(Room())
    next(iter(keeper.coded(stream, dictionary, work)))
    assert len(list(keeper.coded(stream, dictionary, work))) == len(stream.batches)
    assert work.bytes_kept == sum(
        part.codes.nbytes for part in keeper.coded(stream, dictionary, work)
    )


def test_work_tells_texts_that_are_run_again_at_the_same_site_alone(
    stream: TokenActivations,
) -> None:
    work = Work()
    batch = stream.batches[0]
    work.ran("model", ["a", "b"], batch)
    assert work.model_repeats == 0
    work.ran("model", ["c"], batch)
    work.ran("other", ["a"], batch)
    work.encoded("sae", batch)
    assert (work.model_repeats, work.encoded_repeats) == (0, 0)
    work.ran("model", ["b"], batch)
    work.encoded("sae", batch)
    assert work.model_repeats == work.encoded_repeats == len(batch.rows)
    assert work.model_passes == 4
    assert work.model_texts == 4 * len(batch.rows)
