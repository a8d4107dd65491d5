"""Senses measured on a model: where the word is read, and by whom."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytest_sae.activations.store import Store
from pytest_sae.data.senses import PROMPT, SensePair, SensesTask
from pytest_sae.data.sources import bundled_tasks
from pytest_sae.data.tasks import Sizes
from tests.measure.given import measured
from tests.measure.planted_codes import bundled, latents_of, model

SITE = "blocks.2.hook_resid_post"
WORDS = ("cat", "door", "she")


@pytest.fixture(scope="module")
def task() -> SensesTask:
    corpus = bundled_tasks(Sizes(40, 10, 10, 10, 10), 0).corpus
    assert corpus is not None
    texts = corpus.texts[:40]
    pairs = tuple(
        SensePair(WORDS[n % 3], texts[n], texts[(7 * n + 3) % 40], n % 4 < 2) for n in range(40)
    )
    return SensesTask("pairs", pairs, PROMPT, "few")


def test_the_strongest_latent_is_the_one_at_the_words_last_token(
    store: Store, task: SensesTask
) -> None:
    """Against whole prompts run one by one, with what stands after the word."""
    latents = latents_of(bundled("topk"), store, SITE)
    found = {each.metric: each for each in measured("senses", latents, senses=[task])}
    norms = latents.dictionary.decoder_rows.norm(dim=1)
    agree = []
    for pair in task.pairs:
        two = [_at_the_word(latents, pair.word, text) for text in (pair.first, pair.second)]
        agree.append(len({int((z.abs() * norms).argmax()) for z in two}) == 1)
    told, same = np.array(agree), np.array([pair.same for pair in task.pairs])
    assert found["senses.recall"].value == pytest.approx(told[same].mean())
    assert found["senses.specificity"].value == pytest.approx((~told[~same]).mean())
    assert found["senses"].n == {"pairs": 40, "words": 3}


def _at_the_word(latents, word: str, text: str) -> torch.Tensor:
    tokenizer = model().tokenizer
    upto = tokenizer(f"{text} The {word}", add_special_tokens=False).input_ids
    whole = tokenizer(f"{text} The {word} means", add_special_tokens=False).input_ids
    assert whole[: len(upto)] == upto
    ids = torch.tensor([[tokenizer.bos_token_id, *whole]])
    with torch.no_grad():
        x = model().hf(ids, output_hidden_states=True).hidden_states[3][0, len(upto)]
        return latents.dictionary.encode(x[None])[0]


def test_no_table_is_no_data(store: Store) -> None:
    found = measured("senses", latents_of(bundled("topk"), store, SITE))
    assert {each.status for each in found} == {"no_data"}
    assert "no [[senses]] table" in found[0].reason
