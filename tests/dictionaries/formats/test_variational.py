"""Variational SAEs are evaluated by their mean; what σ changes is a function of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pytest_sae.dictionaries.formats import variational
from pytest_sae.dictionaries.formats.variational import VariationalDictionary
from pytest_sae.dictionaries.load import load
from pytest_sae.errors import DictionaryError
from tests.dictionaries.contents import behaves, content, largest, random, tokens, unit

D_IN, D_SAE, K = 12, 40, 5


def weights(bias: str = "bias") -> dict[str, Tensor]:
    return {
        "encoder.weight": random(D_SAE, D_IN, seed=1),
        "encoder.bias": random(D_SAE, seed=2, scale=0.1),
        "var_encoder.weight": random(D_SAE, D_IN, seed=3, scale=0.1),
        "var_encoder.bias": torch.full((D_SAE,), -2.0),
        "decoder.weight": unit(D_SAE, D_IN, seed=4).T.contiguous(),
        bias: random(D_IN, seed=5),
    }


def by_matrices() -> dict[str, Tensor]:
    """The same weights under the names that other trainers use."""
    w = weights()
    return {
        "W_enc": w["encoder.weight"].T.contiguous(),
        "b_enc": w["encoder.bias"],
        "W_log_var": w["var_encoder.weight"].T.contiguous(),
        "b_log_var": w["var_encoder.bias"],
        "W_dec": w["decoder.weight"].T.contiguous(),
        "b_dec": w["bias"],
    }


def build(tensors: dict[str, Tensor], **settings: str) -> VariationalDictionary:
    what = content(tensors, **settings)
    assert variational.recognise(what)
    return variational.build(what, device="cpu", dtype=None)


def mean(w: dict[str, Tensor], x: Tensor, centre: Tensor | float) -> Tensor:
    return (x - centre) @ w["encoder.weight"].T + w["encoder.bias"]


SELECTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda before: before.clamp(min=0),
    "topk": lambda before: largest(before.clamp(min=0), K),
    "signed_topk": lambda before: torch.where(largest(before.abs(), K) > 0, before, 0.0),
}


@pytest.mark.parametrize("codes", SELECTIONS)
def test_the_mean_is_encoded(codes: str) -> None:
    w, x = weights(), tokens(d_in=D_IN)
    dictionary = build(w, codes=codes, k=str(K))
    z = SELECTIONS[codes](mean(w, x, w["bias"]))
    behaves(dictionary, x, z, w["decoder.weight"].T, w["bias"])
    assert dictionary.info.k == (None if codes == "relu" else K)


def test_other_names_of_the_same_weights_mean_the_same() -> None:
    x, options = tokens(d_in=D_IN), {"codes": "topk", "k": str(K)}
    same, other = (
        build(weights(), **options),
        build(by_matrices(), apply_b_dec_to_input="true", **options),
    )
    torch.testing.assert_close(other.encode(x), same.encode(x))
    torch.testing.assert_close(other.reconstruct(x), same.reconstruct(x))
    torch.testing.assert_close(other.spread(x, 5, 0), same.spread(x, 5, 0))


def test_a_decoders_own_bias_is_not_subtracted_from_the_input() -> None:
    w, x = weights("decoder.bias"), tokens(d_in=D_IN)
    dictionary = build(w, codes="relu")
    torch.testing.assert_close(dictionary.encode(x), mean(w, x, 0.0).clamp(min=0))
    torch.testing.assert_close(dictionary.const(x[:1])[0], w["decoder.bias"])


def test_the_spread_is_that_of_explicit_draws() -> None:
    w, x = weights(), tokens(20, d_in=D_IN)
    sigma = ((x - w["bias"]) @ w["var_encoder.weight"].T - 2).clamp(-6, 2).div(2).exp()
    noise = torch.Generator().manual_seed(3)
    draws = [
        SELECTIONS["topk"](mean(w, x, w["bias"]) + sigma * torch.randn(20, D_SAE, generator=noise))
        for _ in range(16)
    ]
    spread = build(w, codes="topk", k=str(K)).spread(x, samples=16, seed=3)
    torch.testing.assert_close(spread, torch.stack(draws).std(dim=0), rtol=1e-4, atol=1e-5)


def test_the_spread_of_unselected_latents_tends_to_sigma() -> None:
    w, x = weights(), tokens(4, d_in=D_IN)
    spread = build(w, codes="signed_topk", k=str(D_SAE)).spread(x, samples=4000, seed=0)
    sigma = ((x - w["bias"]) @ w["var_encoder.weight"].T - 2).clamp(-6, 2).div(2).exp()
    torch.testing.assert_close(spread, sigma, rtol=0.1, atol=0.0)


def test_the_spread_is_the_same_for_the_same_seed_and_leaves_the_global_state_alone() -> None:
    dictionary, x = build(weights(), codes="relu"), tokens(5, d_in=D_IN)
    state = torch.get_rng_state()
    assert torch.equal(dictionary.spread(x, 3, seed=1), dictionary.spread(x, 3, seed=1))
    assert not torch.equal(dictionary.spread(x, 3, seed=1), dictionary.spread(x, 3, seed=2))
    assert torch.equal(torch.get_rng_state(), state)


def test_without_a_variance_head_the_spread_is_zero() -> None:
    w = {name: t for name, t in weights().items() if not name.startswith("var_")}
    what = content(w, codes="relu")  # not recognised by itself, but may be forced
    assert not variational.recognise(what)
    dictionary = variational.build(what, device="cpu", dtype=None)
    assert not dictionary.spread(tokens(3, d_in=D_IN), 2, seed=0).any()


def test_one_sample_has_no_spread() -> None:
    with pytest.raises(DictionaryError, match="at least 2 samples, not 1"):
        build(weights(), codes="relu").spread(tokens(2, d_in=D_IN), 1, seed=0)


def test_k_may_lie_among_the_weights(tmp_path: Path) -> None:
    torch.save(weights() | {"k": torch.tensor(K, dtype=torch.int)}, tmp_path / "ae.pt")
    options = {"codes": "signed_topk"}
    dictionary = load(tmp_path / "ae.pt", family="variational", settings=options.items())
    assert dictionary.info.k == K


REFUSED: list[tuple[dict[str, Tensor], dict[str, str], str]] = [
    (weights(), {}, r"codes=nothing. Expected relu, topk, signed_topk"),
    (weights(), {"codes": "best"}, r"codes=best. Expected relu, topk, signed_topk"),
    (weights(), {"codes": "topk"}, r"declares no k"),
    (weights(), {"codes": "topk", "k": "41"}, r"k = 41. Expected a whole number from 1 to 40"),
    (weights("b_dec"), {"codes": "relu"}, r"whether it is subtracted .* apply_b_dec_to_input="),
    (weights() | {"threshold": random(3)}, {"codes": "relu"}, r"unknown threshold"),
    (weights() | {"bias": random(D_IN) * torch.nan}, {"codes": "relu"}, r"bias \(12 NaN"),
    (weights() | {"decoder.weight": unit(D_SAE, D_IN)}, {"codes": "relu"}, r"Expected \(12, 40\)"),
    (weights() | {"decoder.weight": torch.zeros(D_IN, D_SAE)}, {"codes": "relu"}, r"all 40"),
    (weights(), {"code": "relu"}, r"Did you mean 'codes'"),
]


@pytest.mark.parametrize(("tensors", "options", "message"), REFUSED)
def test_what_is_wrong_or_unknown_is_refused(
    tensors: dict[str, Tensor], options: dict[str, str], message: str
) -> None:
    with pytest.raises(DictionaryError, match=message):
        build(tensors, **options)


def test_a_transposed_square_decoder_is_noticed_by_its_content() -> None:
    w = {"W_enc": random(20, 20, seed=1), "b_enc": random(20)}
    w |= {"W_log_var": random(20, 20), "b_log_var": random(20)}
    build(w | {"W_dec": w["W_enc"].T}, codes="relu")
    with pytest.raises(DictionaryError, match="only when it is transposed"):
        build(w | {"W_dec": w["W_enc"]}, codes="relu")


def test_a_trainers_configuration_says_where_it_belongs() -> None:
    trainer = {"lm_name": "gpt2", "submodule_name": "resid_post_layer_8", "layer": 8}
    what = content(weights(), {"trainer": trainer, "buffer": {"io": "in"}}, codes="relu")
    info = variational.build(what, device="cpu", dtype=None).info
    assert (info.model, info.hook_in) == ("gpt2", "blocks.8.hook_resid_pre")
