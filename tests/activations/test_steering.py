"""Steering against a hook written out on the Hugging Face model, one unpadded prompt at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy

from pytest_sae.activations.latents import Latents
from pytest_sae.activations.steering import Steered, activations, kl, next_log_probabilities, steer
from pytest_sae.activations.store import Store
from pytest_sae.activations.stream import TokenActivations
from pytest_sae.models.load import load as load_model
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.tokenize import tokenize
from tests.activations.witness import TinyDictionary
from tests.tiny import ARCHS, tiny_model

PROMPTS = ["w1 w2 w3", "w4 <eos> w5 w6 w7 w8", "w9", "w10 w11 w12 w13"]
SITES = ("blocks.1.hook_resid_post", "blocks.1.hook_mlp_out", "blocks.1.hook_resid_pre")


def latents_of(model: LanguageModel, site: str = SITES[0]) -> Latents:
    return Latents(TinyDictionary(), model, model.site(site), Store(None), 32, lambda *_: None)


def hooked(model: LanguageModel, site: str, vector: torch.Tensor, prompt: str) -> torch.Tensor:
    """(vocab,) float64 log-probabilities after a prompt, a vector added behind every word."""
    place = model.site(site)
    ids = torch.tensor(tokenize([prompt], model.tokenizer, 32, True).ids)
    words = (ids[0] > 2).float()[:, None]
    module = model.hf.get_submodule(place.module)

    def add(_, args, output):
        hidden = output[0] if isinstance(output, tuple) else output
        new = hidden + words * vector
        return (new, *output[1:]) if isinstance(output, tuple) else new

    def add_before(_, args):
        return (args[0] + words * vector, *args[1:])

    if place.reads == "output":
        handle = module.register_forward_hook(add)
    else:
        handle = module.register_forward_pre_hook(add_before)
    try:
        with torch.no_grad():
            logits = model.hf(input_ids=ids).logits[0, -1]
    finally:
        handle.remove()
    return logits.double().log_softmax(-1)


@pytest.fixture(scope="module", params=ARCHS)
def any_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    directory = tmp_path_factory.mktemp(request.param)
    return load_model(str(tiny_model(directory, request.param)), device="cpu")


@pytest.mark.parametrize("site", SITES)
def test_next_tokens_are_those_of_a_hook(any_model: LanguageModel, site: str) -> None:
    vector = 2 * torch.randn(32, generator=torch.Generator().manual_seed(3))
    stream = latents_of(any_model, site).tokens(PROMPTS)
    found = next_log_probabilities(stream, activations(stream), vector)
    for row, prompt in zip(found, PROMPTS, strict=True):
        expected = hooked(any_model, site, vector, prompt)
        np.testing.assert_allclose(row.numpy(), expected.numpy(), rtol=1e-4, atol=1e-4)


def test_nothing_added_is_the_clean_model(any_model: LanguageModel) -> None:
    stream = latents_of(any_model).tokens(PROMPTS)
    parts = activations(stream)
    clean = next_log_probabilities(stream, parts)
    assert torch.equal(clean, next_log_probabilities(stream, parts, torch.zeros(32)))
    for row, prompt in zip(clean, PROMPTS, strict=True):
        expected = hooked(any_model, SITES[0], torch.zeros(32), prompt)
        np.testing.assert_allclose(row.numpy(), expected.numpy(), rtol=1e-4, atol=1e-4)


@settings(deadline=None)
@given(arrays(np.float64, (2, 3, 5), elements=st.floats(-20, 20)))
def test_kl_is_the_relative_entropy(logits: np.ndarray) -> None:
    clean, steered = torch.from_numpy(logits).log_softmax(-1)
    expected = entropy(clean.exp().numpy(), steered.exp().numpy(), axis=1)
    np.testing.assert_allclose(kl(clean, steered).numpy(), expected, rtol=1e-6, atol=1e-9)
    assert (kl(clean, clean) == 0).all()


def test_kl_grows_with_the_square_of_a_small_step(model: LanguageModel) -> None:
    stream = latents_of(model).tokens(PROMPTS)
    parts = activations(stream)
    clean = next_log_probabilities(stream, parts)
    row = TinyDictionary().decoder_rows[5]
    one, two = (
        float(kl(clean, next_log_probabilities(stream, parts, s * row)).mean())
        for s in (0.02, 0.04)
    )
    assert two / one == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("target", [0.1, 0.5])
def test_the_strength_gives_the_kl_that_was_asked_for(
    any_model: LanguageModel, target: float
) -> None:
    latents = latents_of(any_model)
    for index in (0, 40, 95):
        result = steer(latents, index, PROMPTS, target)
        assert result.reached
        row = latents.dictionary.decoder_rows[index]
        vector = result.strength * row / row.norm()
        clean = [hooked(any_model, SITES[0], 0 * vector, prompt) for prompt in PROMPTS]
        steered = [hooked(any_model, SITES[0], vector, prompt) for prompt in PROMPTS]
        expected = [entropy(p.exp(), q.exp()) for p, q in zip(clean, steered, strict=True)]
        np.testing.assert_allclose(result.kls, expected, rtol=1e-2, atol=1e-4)
        assert result.kl == pytest.approx(np.mean(expected), rel=1e-2)
        assert result.kl == pytest.approx(target, rel=0.1)


def test_more_kl_needs_more_strength(model: LanguageModel) -> None:
    latents = latents_of(model)
    for index in (1, 17, 60):
        results = [steer(latents, index, PROMPTS, target) for target in (0.01, 0.05, 0.2, 0.5)]
        strengths = [result.strength for result in results]
        assert strengths == sorted(set(strengths))


def test_effects_name_the_tokens_whose_probability_changes_most(model: LanguageModel) -> None:
    latents = latents_of(model)
    result = steer(latents, 7, PROMPTS, count=3)
    row = latents.dictionary.decoder_rows[7]
    for effect, prompt in zip(result.effects, PROMPTS, strict=True):
        before = hooked(model, SITES[0], 0 * row, prompt).exp()
        after = hooked(model, SITES[0], result.strength * row / row.norm(), prompt).exp()
        order = (after - before).argsort(descending=True).tolist()
        names = model.tokenizer.convert_ids_to_tokens(order)
        assert list(effect.raised) == names[:3]
        assert list(effect.lowered) == names[::-1][:3]
        assert effect.prompt == prompt.replace("<eos> ", "")


def test_only_the_end_of_a_long_prompt_is_shown(model: LanguageModel) -> None:
    prompt = " ".join(f"w{i}" for i in range(20))
    effect = steer(latents_of(model), 0, [prompt]).effects[0]
    assert effect.prompt == " ".join(f"w{i}" for i in range(8, 20))


def test_what_cannot_be_reached_is_said(model: LanguageModel) -> None:
    result = steer(latents_of(model), 0, PROMPTS, target=1e4)
    assert not result.reached
    assert 0 < result.kl < 1e4


def test_a_row_of_zeros_does_nothing(model: LanguageModel) -> None:
    latents = latents_of(model)
    latents.dictionary.decoder_rows[4] = 0
    result = steer(latents, 4, PROMPTS)
    assert (result.strength, result.kl, result.reached) == (0.0, 0.0, False)
    assert all(effect.raised == effect.lowered == () for effect in result.effects)


def test_the_rows_of_a_decoder_that_is_not_affine_are_found_by_decoding(
    model: LanguageModel,
) -> None:
    affine = steer(latents_of(model), 9, PROMPTS)

    class Opaque(TinyDictionary):
        def __post_init__(self) -> None:
            super().__post_init__()
            self.rows, self.decoder_rows = self.decoder_rows, None

        def contribution(self, x, z, latents):
            return z[:, latents] @ self.rows[latents]

    latents = latents_of(model)
    latents.dictionary = Opaque()
    assert same(steer(latents, 9, PROMPTS), affine)


def same(one: Steered, other: Steered) -> bool:
    return one.effects == other.effects and one.strength == pytest.approx(other.strength)


def test_the_layers_below_run_once_for_all_latents(model: LanguageModel) -> None:
    latents = latents_of(model)
    for index in range(4):
        steer(latents, index, PROMPTS)
    work, stream = latents.store.work, latents.tokens(PROMPTS)
    assert isinstance(stream, TokenActivations)
    assert work.model_passes == len(stream.batches)
    assert work.upper_passes["steer"] <= 4 * 13 * len(stream.batches)


def test_a_transcoder_is_steered_where_it_writes(model: LanguageModel) -> None:
    latents, written = latents_of(model, "blocks.1.ln2.hook_out"), "blocks.1.hook_mlp_out"
    latents.written_site = model.site(written)
    assert same(steer(latents, 3, PROMPTS), steer(latents_of(model, written), 3, PROMPTS))
