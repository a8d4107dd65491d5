"""Exchanging activations at one place, against hooks on one unpadded prompt at a time."""

from __future__ import annotations

import pytest
import torch

from pytest_sae.activations.patching import PatchedCodes, Prompts, next_tokens, places_of, rows_at
from pytest_sae.activations.store import Store
from pytest_sae.activations.stream import TokenActivations
from pytest_sae.dictionaries.controls import permuted_decoder
from pytest_sae.errors import DataError
from pytest_sae.models.load import load as load_model
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.tokenize import batches, tokenize
from tests.activations.witness import TinyDictionary
from tests.tiny import ARCHS, tiny_model

PROMPTS = ["w1 w2 w3", "w4 w5 w6 w7 w8", "w9 w2", "w10 w11 w12 w13"]
PLACES = [2, 5, 1, 1]
SITES = ("blocks.1.hook_resid_post", "blocks.1.hook_mlp_out", "blocks.1.hook_resid_pre")


@pytest.fixture(scope="module", params=ARCHS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    directory = tmp_path_factory.mktemp(request.param)
    return load_model(str(tiny_model(directory, request.param)), "cpu", torch.float32)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    path = tiny_model(tmp_path_factory.mktemp("float64"))
    return load_model(str(path), "cpu", torch.float64)


def stream_of(model: LanguageModel, site: str, texts: list[str] = PROMPTS) -> TokenActivations:
    return TokenActivations(model, model.site(site), texts, 32, True, Store(None), 8)


def hooked(
    model: LanguageModel, name: str, prompt: str, place: int, row: torch.Tensor
) -> torch.Tensor:
    """(vocab,) logits after a prompt, one row put in place by a hook on the whole model."""
    site = model.site(name)
    module = model.hf.get_submodule(site.module)

    def put(hidden: torch.Tensor) -> torch.Tensor:
        hidden = hidden.clone()
        hidden[0, place] = row
        return hidden

    def after(_, args, output):
        if isinstance(output, tuple):
            return (put(output[0]), *output[1:])
        return put(output)

    if site.reads == "output":
        handle = module.register_forward_hook(after)
    else:
        handle = module.register_forward_pre_hook(lambda _, args: (put(args[0]), *args[1:]))
    ids = torch.tensor(tokenize([prompt], model.tokenizer, 32, True).ids)
    try:
        with torch.no_grad():
            return model.hf(input_ids=ids).logits[0, -1]
    finally:
        handle.remove()


@pytest.mark.parametrize("site", SITES)
def test_an_exchanged_row_gives_the_logits_of_a_hook_on_the_whole_model(
    model: LanguageModel, site: str
) -> None:
    prompts = Prompts.of(stream_of(model, site), PLACES)
    rows = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([3, 0, 2, 1])
    found = prompts.logits(order, rows[order]).detach()
    for logits, text in zip(found, order.tolist(), strict=True):
        expected = hooked(model, site, PROMPTS[text], PLACES[text], rows[text])
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_a_prompts_own_row_changes_nothing(model: LanguageModel) -> None:
    prompts = Prompts.of(stream_of(model, SITES[0]), PLACES)
    texts = torch.arange(4)
    assert torch.equal(prompts.logits(texts), prompts.logits(texts, prompts.rows))


def test_the_next_tokens_logits_are_those_at_each_texts_end(model: LanguageModel) -> None:
    for batch in batches(PROMPTS, model.tokenizer, 32, True):
        every = model.logits(batch)
        last = batch.attention.sum(1) - 1
        expected = every[torch.arange(len(last)), last]
        torch.testing.assert_close(model.next_logits(batch), expected, rtol=1e-5, atol=1e-5)


def test_gradients_to_the_rows_are_those_of_finite_differences(wide: LanguageModel) -> None:
    prompts = Prompts.of(stream_of(wide, SITES[0]), PLACES)
    texts = torch.tensor([1, 3])
    rows = prompts.rows[texts].clone().requires_grad_()
    with torch.enable_grad():
        prompts.logits(texts, rows)[:, 7].sum().backward()
    assert rows.grad is not None
    step = 1e-2
    for column in (0, 13, 31):
        moved = [prompts.rows[texts].clone() for _ in range(2)]
        moved[0][:, column] += step
        moved[1][:, column] -= step
        up, down = (prompts.logits(texts, each)[:, 7].double() for each in moved)
        slope = (up - down) / (2 * step)
        torch.testing.assert_close(rows.grad[:, column], slope, rtol=2e-2, atol=1e-3)
    assert all(weight.grad is None for weight in wide.hf.parameters())


def test_rows_come_in_the_order_of_the_texts(model: LanguageModel) -> None:
    stream = stream_of(model, SITES[0])
    rows = rows_at(stream, PLACES)
    assert torch.equal(rows, Prompts.of(stream, PLACES).rows)
    for text, place in enumerate(PLACES):
        (batch,) = batches([PROMPTS[text]], model.tokenizer, 32, True)
        alone = model.capture(batch, [stream.site])[stream.site][0, place]
        torch.testing.assert_close(rows[text], alone, rtol=1e-4, atol=1e-5)


def test_a_prompt_that_the_context_cuts_is_refused(model: LanguageModel) -> None:
    stream = TokenActivations(model, model.site(SITES[0]), PROMPTS, 4, True, Store(None))
    with pytest.raises(DataError, match="cut to 4 tokens"):
        Prompts.of(stream, PLACES)


def test_a_word_is_found_at_its_last_occurrence_and_the_end_without_one(
    model: LanguageModel,
) -> None:
    texts = ["w1 w2 w1 w3", "w3 w1"]
    assert places_of(texts, ["w1", "w1"], model.tokenizer, True) == [3, 2]
    assert places_of(texts, None, model.tokenizer, True) == [4, 2]
    assert places_of(texts, ["w1", "w9"], model.tokenizer, False) == [2, None]


def test_a_word_that_is_only_part_of_a_token_is_not_found(model: LanguageModel) -> None:
    assert places_of(["w11 w2"], ["w1"], model.tokenizer, True) == [None]


def test_the_answers_token_is_the_one_behind_the_prompt(model: LanguageModel) -> None:
    ids = model.tokenizer.convert_tokens_to_ids(["w5", "w6"])
    assert next_tokens(["w1 w2", "w3 "], ["w5 w7", "w6"], model.tokenizer) == ids
    assert next_tokens(["w1 ("], ["w5"], model.tokenizer) == [None]  # joined to one token


def test_exchanging_everything_with_oneself_changes_nothing() -> None:
    codes = PatchedCodes(TinyDictionary(), torch.randn(5, 32))
    rows = torch.arange(5)
    assert not codes.exchanged(rows, rows, torch.ones(len(codes.latents))).any()


@pytest.mark.parametrize("affine", [True, False])
def test_exchanging_latents_is_what_one_contribution_after_the_other_says(affine: bool) -> None:
    x = torch.randn(6, 32, generator=torch.Generator().manual_seed(1))
    dictionary = TinyDictionary() if affine else _Scaled()
    codes = PatchedCodes(dictionary, x)
    base, source = torch.tensor([0, 4, 2]), torch.tensor([5, 1, 3])
    mask = (torch.arange(len(codes.latents)) % 3 == 0).float()
    found = codes.exchanged(base, source, mask)
    z = dictionary.encode(x)
    for row, (one, two) in enumerate(zip(base.tolist(), source.tolist(), strict=True)):
        expected = torch.zeros(32)
        for latent in codes.latents[mask > 0].tolist():
            some = torch.tensor([latent])
            expected += dictionary.contribution(x[two : two + 1], z[two : two + 1], some)[0]
            expected -= dictionary.contribution(x[one : one + 1], z[one : one + 1], some)[0]
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-5)


def test_the_mask_gets_the_gradient_of_each_latents_exchange() -> None:
    x = torch.randn(4, 32, generator=torch.Generator().manual_seed(2))
    for dictionary in (TinyDictionary(), _Scaled()):
        codes = PatchedCodes(dictionary, x)
        mask = torch.full((len(codes.latents),), 0.5, requires_grad=True)
        base, source = torch.tensor([0, 1]), torch.tensor([2, 3])
        with torch.enable_grad():
            codes.exchanged(base, source, mask)[:, 3].sum().backward()
        for place in (0, len(codes.latents) - 1):
            one = torch.zeros(len(codes.latents))
            one[place] = 1
            slope = codes.exchanged(base, source, one)[:, 3].sum()
            torch.testing.assert_close(mask.grad[place], slope, rtol=1e-4, atol=1e-5)


class _Scaled(TinyDictionary):
    """What a latent writes grows with the token's norm: there are no fixed rows."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.rows, self.decoder_rows = self.decoder_rows, None

    def contribution(self, x, z, latents):
        return (z[:, latents] @ self.rows[latents]) * x.norm(dim=1, keepdim=True)


def test_the_permuted_control_exchanges_as_many_latents_as_the_dictionary() -> None:
    dictionary = TinyDictionary()
    x = torch.randn(5, 32)
    shuffled = permuted_decoder(dictionary, 0)
    assert torch.equal(PatchedCodes(dictionary, x).z, PatchedCodes(shuffled, x).z)
