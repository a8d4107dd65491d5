"""overcomplete's families compute from a state_dict what the library computes from its modules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.dictionaries.formats import overcomplete
from pytest_sae.dictionaries.formats.pursuit import matching_pursuit
from pytest_sae.dictionaries.load import load
from pytest_sae.errors import DictionaryError
from tests.dictionaries.contents import behaves, content, largest, random, tokens, unit
from tests.dictionaries.formats.upstream import submodule

D_IN, D_SAE, K = 12, 40, 5


def build(tensors: dict[str, Tensor], **options: str) -> Dictionary:
    what = content(tensors, **options)
    assert overcomplete.recognise(what)
    return overcomplete.build(what, device="cpu", dtype=None)


def atoms() -> dict[str, Tensor]:
    return {
        "dictionary._weights": unit(D_SAE, D_IN, seed=1),
        "dictionary.multiplier": torch.tensor(0.25),
    }


def encoded() -> dict[str, Tensor]:
    return atoms() | {
        "encoder.final_block.0.weight": random(D_SAE, D_IN, seed=2),
        "encoder.final_block.0.bias": random(D_SAE, seed=3, scale=0.1),
    }


def greedy(x: Tensor, rows: Tensor, k: int) -> Tensor:
    """Matching pursuit, one token and one step after the other."""
    codes = torch.zeros(len(x), len(rows))
    for token, left in zip(codes, x.clone(), strict=True):
        for _ in range(k):
            products = rows @ left
            best = int(products.argmax())
            token[best] += products[best]
            left -= products[best] * rows[best]
    return codes


def test_matching_pursuit_computes_its_formula() -> None:
    w, x = atoms(), tokens(d_in=D_IN)
    rows = w["dictionary._weights"] * torch.tensor(0.25).exp()
    dictionary = build(w, k=str(K))
    behaves(dictionary, x, greedy(x, rows, K), rows, torch.zeros(D_IN), rtol=1e-4, atol=1e-4)
    assert dictionary.info.k == K
    assert torch.equal(dictionary.encoder_rows, dictionary.decoder_rows)


def test_values_of_matching_pursuit_may_be_negative() -> None:
    rows = unit(3, D_IN, seed=1).abs()
    assert (matching_pursuit(-tokens(d_in=D_IN).abs(), rows, 2) <= 0).all()


def test_ablating_before_a_pursuit_is_not_subtracting_after_it() -> None:
    # Its latents depend on each other; what `contribution` says is of fixed codes.
    dictionary, x = build(atoms(), k=str(K)), tokens(d_in=D_IN)
    z, rows = dictionary.encode(x), dictionary.decoder_rows
    assert rows is not None
    latent = torch.tensor([int((z != 0).sum(dim=0).argmax())])
    without = torch.cat([rows[: int(latent)], rows[int(latent) + 1 :]])
    again = matching_pursuit(x, without, K) @ without
    subtracted = dictionary.reconstruct(x) - dictionary.contribution(x, z, latent)
    assert (again - subtracted).abs().max() > 0.1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**20))
def test_pursuit_never_raises_the_error_with_more_steps(count: int, k: int, seed: int) -> None:
    x, rows = tokens(count, D_IN, seed), unit(D_SAE, D_IN, seed=seed + 1)
    errors = [(x - matching_pursuit(x, rows, steps) @ rows).norm(dim=1) for steps in (k, k + 1)]
    assert (errors[1] <= errors[0] + 1e-4).all()


def test_blocks_of_tokens_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_sae.dictionaries.formats import selection

    x, rows = tokens(50, D_IN), unit(D_SAE, D_IN)
    whole = selection.in_blocks(lambda part: matching_pursuit(part, rows, K), x, 1, D_SAE)
    parts = selection.in_blocks(lambda part: matching_pursuit(part, rows, K), x, 1, D_SAE, most=7)
    torch.testing.assert_close(parts, whole)


@pytest.mark.parametrize(
    ("options", "select"),
    [
        ({"k": str(K)}, lambda z: largest(z, K)),
        ({"codes": "relu"}, lambda z: z),
        ({"threshold": "1.5"}, lambda z: z * (z >= 1.5)),
        ({"codes": "topk", "k": "1"}, lambda z: largest(z, 1)),
    ],
)
def test_a_linear_encoder_computes_its_formula(
    options: dict[str, str], select: Callable[[Tensor], Tensor]
) -> None:
    w, x = encoded(), tokens(d_in=D_IN)
    before = x @ w["encoder.final_block.0.weight"].T + w["encoder.final_block.0.bias"]
    z = select(before.clamp(min=0))
    rows = w["dictionary._weights"] * torch.tensor(0.25).exp()
    behaves(build(w, **options), x, z, rows, torch.zeros(D_IN))


def test_the_first_release_rectifies_a_normalised_layer_and_leaves_its_atoms_as_they_are() -> None:
    x = tokens(d_in=D_IN)
    w = {
        "encoder.0.weight": random(D_SAE, D_IN, seed=2),
        "encoder.0.bias": random(D_SAE, seed=3),
        "encoder.1.weight": random(D_SAE, seed=4),
        "encoder.1.bias": random(D_SAE, seed=5),
        "encoder.1.running_mean": random(D_SAE, seed=6),
        "encoder.1.running_var": random(D_SAE, seed=7).abs() + 0.1,
        "encoder.1.num_batches_tracked": torch.tensor(3),
        "dictionary.dictionary": 3 * random(D_SAE, D_IN, seed=8),
    }
    before = x @ w["encoder.0.weight"].T + w["encoder.0.bias"]
    before = (before - w["encoder.1.running_mean"]) / (w["encoder.1.running_var"] + 1e-5).sqrt()
    z = (before * w["encoder.1.weight"] + w["encoder.1.bias"]).clamp(min=0)
    rows = w["dictionary.dictionary"]
    behaves(build(w), x, z, rows, torch.zeros(D_IN), rtol=1e-4, atol=1e-4)


def trained(module: Any, x: Tensor) -> Any:
    """The module as some training leaves it: nothing at its start, in evaluation mode."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if not name.startswith("dictionary._weights"):
                parameter.add_(0.1 * torch.randn_like(parameter))
    module.train()
    module.encode(x)
    module.get_dictionary()
    return module.eval()


MODULES: dict[str, tuple[Callable[[Any], Any], dict[str, str]]] = {
    "mp": (lambda sae: sae.MpSAE(D_IN, D_SAE, k=K), {"k": str(K)}),
    "omp": (lambda sae: sae.OMPSAE(D_IN, D_SAE, k=K), {"codes": "omp", "k": str(K)}),
    "topk": (lambda sae: sae.TopKSAE(D_IN, D_SAE, top_k=K), {"k": str(K)}),
    "relu": (lambda sae: sae.SAE(D_IN, D_SAE), {"codes": "relu"}),
    "jump": (lambda sae: sae.JumpSAE(D_IN, D_SAE), {}),
    "batch norm": (
        lambda sae: sae.TopKSAE(D_IN, D_SAE, top_k=K, encoder_module="mlp_bn_1"),
        {"k": str(K)},
    ),
    "layer norm": (
        lambda sae: sae.TopKSAE(D_IN, D_SAE, top_k=K, encoder_module="mlp_ln_1"),
        {"k": str(K)},
    ),
    "untied": (lambda sae: sae.TopKSAE(D_IN, D_SAE, top_k=K).untied(bias=True), {"k": str(K)}),
    "multiplier": (
        lambda sae: sae.MpSAE(D_IN, D_SAE, k=K, dictionary_params={"use_multiplier": True}),
        {"k": str(K)},
    ),
    "max_l1": (
        lambda sae: sae.MpSAE(D_IN, D_SAE, k=K, dictionary_params={"normalization": "max_l1"}),
        {"k": str(K), "normalization": "max_l1"},
    ),
    "archetypal": (
        lambda sae: sae.RATopKSAE(D_IN, D_SAE, tokens(60, D_IN, 3), top_k=K, delta=0.2),
        {"k": str(K), "delta": "0.2"},
    ),
    "archetypal jump": (
        lambda sae: sae.RAJumpSAE(D_IN, D_SAE, tokens(60, D_IN, 3), delta=5.0),
        {"delta": "5"},
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_state_dict_computes_what_its_module_computes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, options = MODULES[name]
    x = tokens(d_in=D_IN)
    module = trained(make(submodule(monkeypatch, "overcomplete.sae")), x)
    torch.save(module.state_dict(), tmp_path / "module.pt")
    dictionary = load(tmp_path / "module.pt", settings=options.items())
    with torch.no_grad():
        _, z, reconstructed = module(x)
    assert 0 < (z != 0).sum() < z.numel()
    torch.testing.assert_close(dictionary.encode(x), z, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dictionary.reconstruct(x), reconstructed, rtol=1e-5, atol=1e-5)


def test_a_tied_encoder_reads_what_it_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    sae, x = submodule(monkeypatch, "overcomplete.sae"), tokens(d_in=D_IN)
    module = trained(sae.TopKSAE(D_IN, D_SAE, top_k=K).tied(bias=True), x)
    dictionary = build(module.state_dict(), k=str(K))
    with torch.no_grad():
        torch.testing.assert_close(dictionary.encode(x), module.encode(x)[1])


def test_a_pickled_module_is_never_opened(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(3, 4), tmp_path / "module.pt")
    with pytest.raises(DictionaryError, match="was not opened"):
        load(tmp_path / "module.pt", settings={"k": "2"}.items())


def with_(**changes: Tensor) -> dict[str, Tensor]:
    return encoded() | {name.replace("__", "."): tensor for name, tensor in changes.items()}


def archetypes() -> dict[str, Tensor]:
    return {
        "dictionary.C": random(20, D_IN, seed=1),
        "dictionary.W": random(D_SAE, 20, seed=2).abs(),
        "dictionary.Relax": random(D_SAE, D_IN, seed=3),
        "dictionary.multiplier": torch.tensor(0.0),
    }


REFUSED: list[tuple[dict[str, Tensor], dict[str, str], str]] = [
    (atoms(), {}, r"read as mp, and its file does not say k. .* --sae=overcomplete,k=32"),
    (atoms(), {"k": "41"}, r"k=41. Expected a whole number from 1 to 40"),
    (atoms(), {"k": "5", "codes": "topk"}, r"codes=topk. Expected mp, omp"),
    (encoded(), {}, r"do not say how latents are selected. Expected k= for TopK"),
    (encoded(), {"codes": "mp", "k": "5"}, r"codes=mp. Expected relu, topk, batchtopk, jumprelu"),
    (encoded(), {"codes": "jumprelu"}, r"does not say the threshold"),
    (encoded(), {"threshold": "-1"}, r"threshold=-1. Expected a number of 0 or more"),
    (encoded(), {"threshold": "nan"}, r"threshold=nan. Expected a number of 0 or more"),
    (encoded(), {"top_k": "5"}, r"'top_k', which"),
    (with_(dictionary___weights=random(D_SAE, D_IN)), {"k": "5"}, r"normalization=l2\|max_l2"),
    (with_(dictionary___weights=random(D_SAE)), {"k": "5"}, r"Expected a matrix"),
    (with_(dictionary__multiplier=random(3)), {"k": "5"}, r"Expected one number"),
    (with_(Q=random(4)), {"k": "5"}, r"quantised latents"),
    (with_(dictionary___weights=unit(D_SAE, D_IN) * torch.nan), {"k": "5"}, r"480 NaN"),
    (with_(dictionary___weights=unit(D_IN, D_SAE)), {"k": "5"}, r"Expected the same, \(d_sae"),
    (with_(encoder__mlp_blocks__0__0__weight=random(2, 2)), {"k": "5"}, r"of several layers"),
    (
        with_(dictionary___weights=torch.zeros(D_SAE, D_IN)),
        {"k": "5", "normalization": "identity"},
        r"all 40 decoder rows are zero",
    ),
    (archetypes(), {"k": "5"}, r"Expected the setting delta="),
    (archetypes() | {"dictionary.W": random(9, 9)}, {"k": "5"}, r"Expected \(points, d_in\)"),
]


@pytest.mark.parametrize(("tensors", "options", "message"), REFUSED)
def test_what_cannot_be_known_is_asked_for(
    tensors: dict[str, Tensor], options: dict[str, str], message: str
) -> None:
    with pytest.raises(DictionaryError, match=message):
        build(tensors, **options)


def test_what_is_built_is_an_affine_dictionary() -> None:
    assert isinstance(build(atoms(), k="2"), AffineDictionary)
