"""Absorption of single words beside SAEBench's own calculator, on the same activations."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import sparse

absorption = pytest.importorskip("pytest_sae.metrics.absorption")

WORDS, D, LATENTS = 200, 16, 40


@pytest.fixture(scope="module")
def words():
    """Words whose letter split latents carry, or absorbers, or both; rows of norm one."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(LATENTS, D))
    rows[:8] += 3 * rows[0]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    z = rng.random((WORDS, LATENTS)) * (rng.random((WORDS, LATENTS)) < 0.25)
    z[:, :2] *= rng.random((WORDS, 1)) < 0.5  # the split latents are silent on half of the words
    x = z @ rows + 0.1 * rng.normal(size=(WORDS, D))
    return absorption.Words(
        np.zeros(WORDS, np.int64),
        np.zeros(WORDS, np.int64),
        x.astype(np.float32),
        sparse.csr_array(z.astype(np.float32)),
        rows.astype(np.float32),
    )


def published(words, p: np.ndarray, main: list[int]):
    from sae_bench.evals.absorption.feature_absorption_calculator import (
        FeatureAbsorptionCalculator,
    )

    names = [str(word) for word in range(WORDS)]

    def run_with_cache(texts, names_filter):
        x = torch.from_numpy(words.x[[int(text) for text in texts]])
        return None, {names_filter[0]: torch.stack([x, x], dim=1)}

    codes = torch.from_numpy(words.z.toarray())
    place = iter(range(0, WORDS, 10))

    def encode(x):
        start = next(place)
        return codes[start : start + 10]

    calculator = FeatureAbsorptionCalculator(
        SimpleNamespace(run_with_cache=run_with_cache), icl_word_list=[]
    )
    calculator._build_prompts = lambda some: [SimpleNamespace(base=w, word=w) for w in some]
    calculator._validate_prompts_are_same_length = lambda prompts: None
    sae = SimpleNamespace(
        encode=encode, W_dec=torch.from_numpy(words.rows), device=torch.device("cpu")
    )
    found = calculator.calculate_absorption(
        sae, names, torch.from_numpy(p), main, layer=0, show_progress=False
    )
    return (
        np.array([each.absorption_fraction for each in found.word_results]),
        np.array([each.is_full_absorption for each in found.word_results]),
        np.array([each.probe_projection for each in found.word_results]),
    )


def test_fractions_and_full_absorption_of_every_word_are_the_same(words) -> None:
    p = words.rows[0].astype(np.float32)
    main = np.array([0, 1])
    fraction, full, projection = published(words, p, main.tolist())
    ours = absorption.absorb(words, np.arange(WORDS), p.astype(np.float64), main, scaled=False)
    assert 0.05 < fraction.mean() < 0.95
    assert full.any()
    # Where the probe's direction is not there at all, theirs divides by it.
    there = projection > 0
    np.testing.assert_allclose(ours.fraction[there], fraction[there], atol=1e-4)
    assert np.array_equal(ours.full[there], full[there])
    assert (ours.fraction[~there] == 0).all()
