"""Batches that fit: chosen by the device, and halved where its memory runs out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pytest_sae.errors import ModelError
from pytest_sae.models.load import load
from pytest_sae.models.memory import tokens_per_batch
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.tokenize import Batch, batches
from tests.tiny import tiny_model

TEXTS = [f"word {'and ' * length}end" for length in range(5)]
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture
def model(tmp_path: Path) -> LanguageModel:
    tiny_model(tmp_path / "model")
    return load(str(tmp_path / "model"), "cpu")


@pytest.fixture
def batch(model: LanguageModel) -> Batch:
    (batch,) = batches(TEXTS, model.tokenizer, 32, True)
    return batch


def with_room_for(model: LanguageModel, texts: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the model's device run out of memory above a number of texts; return what was tried."""
    forward, tried = model._forward, []

    def limited(batch: Batch) -> torch.Tensor:
        tried.append(batch.shape[0])
        if batch.shape[0] > texts:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
        return forward(batch)

    monkeypatch.setattr(model, "_forward", limited)
    return tried


def test_a_batch_that_does_not_fit_is_run_in_parts_that_do(
    model: LanguageModel, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = model.site("blocks.1.hook_resid_post")
    whole, logits = model.capture(batch, [site])[site], model.logits(batch)
    tried = with_room_for(model, 2, monkeypatch)
    torch.testing.assert_close(model.capture(batch, [site])[site], whole, **CLOSE)
    assert tried == [5, 2, 3, 1, 2]
    torch.testing.assert_close(model.logits(batch), logits, **CLOSE)


def test_what_is_put_in_place_is_divided_with_its_texts(
    model: LanguageModel, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = model.site("blocks.0.hook_mlp_out")
    below = model.stream_below(site)
    assert below is not None
    seen = model.capture(batch, [site, below])
    changed = seen[site] * torch.arange(5)[:, None, None]
    whole = model.logits_from(batch, site, changed, seen[below])
    with_room_for(model, 1, monkeypatch)
    torch.testing.assert_close(model.logits_from(batch, site, changed, seen[below]), whole, **CLOSE)


def test_a_text_that_does_not_fit_alone_says_what_to_do(
    model: LanguageModel, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_room_for(model, 0, monkeypatch)
    with pytest.raises(ModelError, match=r"one text of \d+ tokens .*2\.00 GiB.*bfloat16") as caught:
        model.logits(batch)
    assert "more" not in str(caught.value)


def test_on_the_cpu_batches_are_what_they_were(model: LanguageModel) -> None:
    assert tokens_per_batch(model) == 4096


@pytest.mark.parametrize(
    ("memory", "vocab", "expected"),
    [
        (80 * 2**30, 256_000, 4096),  # 80 GiB / 8 / (12 bytes x 256,000) = 3,495: the least
        (80 * 2**30, 50_257, 16384),  # 17,805
        (24 * 2**30, 50_257, 4096),  # 5,342
        (80 * 2**30, 1000, 65536),  # 894,784: the most
    ],
)
def test_a_gpu_is_given_what_its_memory_has_room_for(
    memory: int, vocab: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = SimpleNamespace(total_memory=memory)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: about)
    there: Any = SimpleNamespace(device=torch.device("cuda"), predicts=True, vocab=vocab)
    assert tokens_per_batch(there) == expected
