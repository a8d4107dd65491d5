"""Evidence through `Latents`: the same as collected by hand, and made once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_sae.activations.evidence import EvidenceSizes, collect
from pytest_sae.activations.latents import Latents
from pytest_sae.activations.store import Store
from pytest_sae.models.load import load as load_model
from tests.activations.witness import TinyDictionary, texts

SIZES = EvidenceSizes(width=6, top=2, samples=2, scored=3, random=2, hard=2)


@pytest.fixture
def latents(model_dir: Path) -> Latents:
    model = load_model(str(model_dir), device="cpu")
    site = model.site("blocks.1.hook_resid_post")
    return Latents(TinyDictionary(), model, site, Store(None), 24, lambda *_: None)


def test_evidence_is_what_collect_gives(latents: Latents) -> None:
    some, documents = np.array([5, 90, 33]), texts(40)
    found = latents.evidence(documents, some, SIZES, 3)
    by_hand = collect(latents.tokens(documents), TinyDictionary(), some, SIZES, 3)
    assert found == by_hand
    assert any(each.top and each.scored and each.random and each.hard for each in found)


def test_evidence_is_made_once_for_the_same_question(latents: Latents) -> None:
    some, documents, dictionary = np.array([5, 90]), texts(40), latents.dictionary
    first = latents.evidence(documents, some, SIZES, 0)
    encoded = dictionary.encoded_tokens
    assert latents.evidence(list(documents), some.copy(), replace(SIZES), 0) is first
    assert dictionary.encoded_tokens == encoded
    others = [
        latents.evidence(documents, some, SIZES, 1),
        latents.evidence(documents, some[::-1], SIZES, 0),
        latents.evidence(documents[:30], some, SIZES, 0),
        latents.evidence(documents, some, replace(SIZES, top=1), 0),
    ]
    assert all(other != first for other in others)


def test_densities_are_shares_of_valid_tokens_and_counted_once(latents: Latents) -> None:
    documents = texts(40)
    found = latents.densities(documents)
    z = np.concatenate(
        [latents.dictionary.encode(part.x_valid).numpy() for part in latents.tokens(documents)]
    )
    np.testing.assert_allclose(found, (z != 0).mean(0), rtol=1e-9)
    assert found.shape == (96,)
    assert found.sum() <= latents.dictionary.k
    encoded = latents.dictionary.encoded_tokens
    assert latents.densities(documents) is found
    assert latents.dictionary.encoded_tokens == encoded
    evidence = latents.evidence(documents, np.arange(96), SIZES, 0)
    np.testing.assert_allclose([each.density for each in evidence], found, rtol=1e-12)


def test_progress_is_told_text_by_text(latents: Latents) -> None:
    told: list[tuple[str, int, int]] = []
    latents.progress = lambda *now: told.append(now)
    latents.evidence(texts(40), np.array([1]), SIZES, 0)
    assert {(stage, total) for stage, _, total in told} == {("collecting evidence", 40)}
    assert [done for _, done, _ in told] == sorted({done for _, done, _ in told})
    assert told[-1][1] == 40
