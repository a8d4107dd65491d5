"""Rows of last tokens: against one text at a time, and how often the model is run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytest_sae.activations.last_token import encode_rows, last_rows
from pytest_sae.activations.store import Store
from pytest_sae.activations.work import Work
from pytest_sae.errors import DataError
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.tokenize import Batch, framed, tokenize_ends
from tests.activations.witness import TinyDictionary, texts


def test_a_row_is_the_last_token_of_the_text_alone_cut_from_the_left(model: LanguageModel) -> None:
    sites = [model.site("blocks.0.hook_resid_post"), model.site("blocks.1.hook_resid_post")]
    tokens = tokenize_ends(texts(), model.tokenizer, 6, True)
    found = last_rows(model, sites, tokens, Store(None))
    for row, text in enumerate(texts()):
        own = model.tokenizer(text, add_special_tokens=False)["input_ids"][-5:]
        ids = torch.tensor([[model.tokenizer.bos_token_id, *own]])
        ones = torch.ones_like(ids, dtype=torch.bool)
        alone = model.capture(Batch(ids, ones, ones, torch.tensor([0])), sites)
        for site, x in zip(sites, found, strict=True):
            torch.testing.assert_close(x[row], alone[site][0, -1], rtol=1e-4, atol=1e-5)


def test_the_model_is_run_once_for_all_dictionaries(model: LanguageModel) -> None:
    sites, store = [model.site("blocks.1.hook_resid_post")], Store(None)
    tokens = tokenize_ends(texts(), model.tokenizer, 16, True)
    first = last_rows(model, sites, tokens, store)
    passes = store.work.model_passes
    again = last_rows(model, sites, tokens, store)
    assert store.work.model_passes == passes > 0
    assert torch.equal(first[0], again[0])
    fewer = tokenize_ends(texts()[1:], model.tokenizer, 16, True)
    last_rows(model, sites, fewer, store)
    assert store.work.model_passes > passes


def test_rows_are_encoded_once_as_the_dictionary_encodes_them() -> None:
    dictionary, work = TinyDictionary(), Work()
    x = torch.randn(200, dictionary.d_in, generator=torch.Generator().manual_seed(0))
    z = encode_rows(dictionary, x, work)
    np.testing.assert_allclose(z.toarray(), dictionary.encode(x).numpy(), atol=1e-5)
    assert (work.encode_passes, work.encoded_tokens) == (1, 200)


def test_token_ids_get_what_stands_around_every_text(model: LanguageModel) -> None:
    tokens = framed([[5, 6, 7], [8]], model.tokenizer, 3, True)
    assert tokens.ids == [[1, 6, 7], [1, 8]]
    assert framed([[5]], model.tokenizer, 3, False).ids == [[5]]
    with pytest.raises(DataError, match="no room"):
        framed([[5]], model.tokenizer, 1, True)
