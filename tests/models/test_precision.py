"""What half precision costs, measured against the same checkpoint in float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pytest_sae.models.load import load
from pytest_sae.models.precision import compare
from pytest_sae.models.tokenize import batches

TEXTS = ["w1 w2 w3 w4", "w5 w6", "w7 w8 w9 w1 w2"]
HOOK = "blocks.1.hook_resid_post"


def encode(x: torch.Tensor) -> torch.Tensor:
    return (x - 0.5).relu()


def test_the_same_model_differs_in_nothing(model_dir: Path) -> None:
    model = load(str(model_dir), device="cpu")
    found = compare(model, model, model.site(HOOK), TEXTS, (torch.relu, torch.relu))
    assert (found.dtype, found.tokens) == ("float32", 11)
    assert (found.activation, found.relative, found.latent, found.switched) == (0, 0, 0, 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_compared_token_by_token(model_dir: Path, dtype: torch.dtype) -> None:
    """The witness: one text at a time, special tokens left out by hand."""
    full = load(str(model_dir), device="cpu")
    half = load(str(model_dir), device="cpu", dtype=dtype)
    site = full.site(HOOK)
    found = compare(
        half, full, site, TEXTS, (lambda x: (x - 0.5).relu(), lambda x: (x - 0.5).relu())
    )
    largest, relative, latent = 0.0, 0.0, 0.0
    either = one = 0
    for text in TEXTS:
        batch = batches([text], full.tokenizer, 64, True)[0]
        low, high = (m.capture(batch, [site])[site][0, 1:] for m in (half, full))
        apart = low.double() - high.double()
        largest = max(largest, float(apart.abs().max()))
        relative = max(relative, float((apart.norm(dim=1) / high.double().norm(dim=1)).max()))
        a, b = encode(low), encode(high)
        latent = max(latent, float((a.double() - b.double()).abs().max()))
        either += int(((a > 0) | (b > 0)).sum())
        one += int(((a > 0) != (b > 0)).sum())
    # Texts in one batch are padded, which moves the last bits of half precision.
    assert found.activation == pytest.approx(largest, rel=0.5)
    assert found.relative == pytest.approx(relative, rel=0.5)
    assert found.latent == pytest.approx(latent, rel=0.5)
    assert found.switched == pytest.approx(one / either, abs=0.05)
    assert 0 < found.relative < (0.1 if dtype == torch.bfloat16 else 0.02)


def test_without_a_dictionary_only_activations_are_compared(model_dir: Path) -> None:
    model = load(str(model_dir), device="cpu")
    found = compare(model, model, model.site(HOOK), TEXTS)
    assert (found.latent, found.switched) == (None, None)
