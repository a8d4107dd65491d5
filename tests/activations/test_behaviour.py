"""Logits from the layers above the site, against full passes of single texts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pytest_sae.activations import behaviour
from pytest_sae.activations.behaviour import (
    ablated_sums,
    constant,
    predictions,
    site_mean,
    zeros,
)
from pytest_sae.activations.store import Store
from pytest_sae.activations.stream import TokenActivations, below, run
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.tokenize import Batch, tokenize
from tests.activations.witness import TinyDictionary, texts

HOOKS = ("blocks.1.hook_resid_post", "blocks.2.hook_resid_pre", "blocks.1.hook_mlp_out")


def make(model: LanguageModel, hook: str, store: Store | None = None) -> TokenActivations:
    store = store or Store(None)
    return TokenActivations(model, model.site(hook), texts(), 16, True, store, 100)


def logits_of_one(activations: TokenActivations, text: str, edit) -> tuple[Tensor, Tensor]:
    """Ids and logits of one unpadded text, edited token by token in an ordinary hook."""
    model = activations.model
    ids = torch.tensor(tokenize([text], model.tokenizer, 16, True).ids)

    def hook(_, args, output=None):
        x = (args[0] if output is None else output).clone()
        for pos, token in enumerate(ids[0].tolist()):
            if token > 2:
                x[0, pos] = edit(x[0, pos])
        return (x, *args[1:]) if output is None else x

    module = model.hf.get_submodule(activations.site.module)
    register = {"input": "register_forward_pre_hook", "output": "register_forward_hook"}
    handle = getattr(module, register[activations.site.reads])(hook)
    with torch.no_grad():
        logits = model.hf(input_ids=ids, use_cache=False).logits
    handle.remove()
    return ids[0], logits[0]


def reconstruction(dictionary: TinyDictionary) -> behaviour.Replace:
    """Put the dictionary's reconstruction in place of valid tokens."""

    def replace(x: Tensor, batch: Batch) -> Tensor:
        new = x.clone()
        new[batch.valid] = dictionary.reconstruct(x[batch.valid]).to(x)
        return new

    return replace


def edits(dictionary: TinyDictionary, mean: Tensor) -> dict:
    return {
        "identity": (lambda x, batch: x, lambda token: token),
        "zeros": (zeros, torch.zeros_like),
        "mean": (constant(mean), lambda token: mean.float()),
        "sae": (
            reconstruction(dictionary),
            lambda token: dictionary.reconstruct(token[None])[0],
        ),
    }


@pytest.mark.parametrize("hook", HOOKS)
def test_spliced_logits_equal_full_passes_of_single_texts(model: LanguageModel, hook: str) -> None:
    activations = make(model, hook)
    mean = site_mean(activations)
    for replace, edit in edits(TinyDictionary(), mean).values():
        for part in predictions(activations, replace, below(activations)):
            for i, row in enumerate(part.batch.rows.tolist()):
                for logits, change in ((part.spliced, edit), (part.clean, lambda token: token)):
                    ids, expected = logits_of_one(activations, activations.texts[row], change)
                    assert torch.equal(part.batch.ids[i][part.batch.attention[i]], ids)
                    torch.testing.assert_close(
                        logits[i, : len(ids)], expected, rtol=1e-3, atol=1e-3
                    )


@pytest.mark.parametrize("hook", HOOKS)
def test_an_identity_splice_changes_nothing_at_all(model: LanguageModel, hook: str) -> None:
    activations = make(model, hook)
    for part in predictions(activations, lambda x, batch: x, below(activations)):
        assert torch.equal(part.clean, part.spliced)


def test_special_tokens_keep_their_activation(model: LanguageModel) -> None:
    """At BOS nothing is replaced, and nothing before it can be: its logits stay."""
    for part in predictions(make(model, HOOKS[0]), zeros):
        assert torch.equal(part.clean[:, 0], part.spliced[:, 0])
        later = part.batch.valid
        assert not torch.equal(part.clean[later], part.spliced[later])


def test_the_stream_below_saves_work_and_changes_nothing(model: LanguageModel) -> None:
    activations = make(model, "blocks.1.hook_mlp_out")
    under = below(activations)
    assert under is not None
    run([activations, under])
    both = zip(predictions(activations, zeros), predictions(activations, zeros, under), strict=True)
    for full, upper in both:
        assert torch.equal(full.spliced, upper.spliced)
        assert torch.equal(full.clean, upper.clean)


def test_large_vocabularies_are_cut_into_fewer_texts(model: LanguageModel) -> None:
    activations = make(model, HOOKS[0])
    whole = {r: p for p in predictions(activations, zeros) for r in p.batch.rows.tolist()}
    limit = 16 * model.vocab * 4
    for part in predictions(activations, zeros, logit_bytes=limit):
        assert part.clean.nbytes <= limit
        for i, row in enumerate(part.batch.rows.tolist()):
            place = whole[row].batch.rows.tolist().index(row)
            seen = part.batch.attention[i]
            torch.testing.assert_close(
                part.spliced[i][seen], whole[row].spliced[place][seen], rtol=1e-4, atol=1e-4
            )


def test_the_site_mean_is_over_valid_tokens(model: LanguageModel, tmp_path: Path) -> None:
    activations = make(model, HOOKS[0], Store(tmp_path))
    tokens = torch.cat([part.x_valid for part in activations]).double()
    torch.testing.assert_close(site_mean(activations), tokens.mean(0))
    warm = make(model, HOOKS[0], Store(tmp_path))
    assert torch.equal(site_mean(warm), site_mean(activations))


def confidence(logits: Tensor, batch: Batch) -> Tensor:
    """A sum per text that depends on every valid token's logits."""
    return (logits.float().logsumexp(-1) * batch.valid).sum(1)


def test_ablated_sums_are_made_once_for_all_dictionaries(
    model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    activations = make(model, HOOKS[0], Store(tmp_path))
    sums = ablated_sums(activations, confidence, "1")
    mean = constant(site_mean(activations))
    for name, replace in (("mean_ablated", mean), ("zero_ablated", zeros)):
        for part in predictions(activations, replace):
            rows = part.batch.rows
            expected = confidence(part.spliced, part.batch).double()
            assert torch.equal(sums[name][rows], expected)
    monkeypatch.setattr(behaviour, "_logits", None)
    warm = make(model, HOOKS[0], Store(tmp_path))
    for name, found in ablated_sums(warm, confidence, "1").items():
        assert torch.equal(found, sums[name])
    with pytest.raises(TypeError):
        ablated_sums(warm, confidence, "2")


def test_a_reconstruction_is_written_only_where_tokens_are_valid(model: LanguageModel) -> None:
    dictionary = TinyDictionary()
    replace = reconstruction(dictionary)
    for part in make(model, HOOKS[0]):
        before = part.x.clone()
        new = behaviour.replaced(part, replace)
        valid = part.batch.valid
        assert torch.equal(new[~valid], part.x[~valid])
        torch.testing.assert_close(new[valid], dictionary.reconstruct(part.x_valid))
        assert torch.equal(part.x, before)
