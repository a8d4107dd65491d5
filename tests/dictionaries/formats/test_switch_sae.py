"""Switch SAEs route each token to one expert, and need to be told what their file leaves out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.dictionaries.formats import switch_sae
from pytest_sae.dictionaries.load import load
from pytest_sae.errors import DictionaryError
from tests.dictionaries.contents import behaves, content, largest, random, tokens, unit

D_IN, EXPERTS, SIZE = 12, 4, 10
SETTINGS = {"k": "5", "experts": "4", "heaviside": "false"}


def weights(d_in: int = D_IN) -> dict[str, Tensor]:
    return {
        "encoder.weight": random(EXPERTS * SIZE, d_in, seed=1),
        "router.weight": random(EXPERTS, d_in, seed=2, scale=0.3),
        "decoder": unit(EXPERTS * SIZE, d_in, seed=3),
        "b_dec": random(d_in, seed=4),
        "b_router": random(d_in, seed=5),
    }


def build(w: dict[str, Tensor] | None = None, **settings: str) -> Dictionary:
    what = content(w or weights(), **{**SETTINGS, **settings})
    assert switch_sae.recognise(what)
    return switch_sae.build(what, device="cpu", dtype=None)


def explicit(w: dict[str, Tensor], x: Tensor, k: int, heaviside: bool) -> Tensor:
    """All experts computed, all but one multiplied by 0."""
    before = ((x - w["b_dec"]) @ w["encoder.weight"].T).clamp(min=0)
    chances = torch.softmax((x - w["b_router"]) @ w["router.weight"].T, dim=1)
    best = chances == chances.max(dim=1, keepdim=True).values
    factor = best.float() if heaviside else chances * best
    return largest(before * factor.repeat_interleave(SIZE, dim=1), k)


@pytest.mark.parametrize("heaviside", [False, True])
@pytest.mark.parametrize("k", [1, 3, SIZE, SIZE + 7])
def test_a_switch_sae_computes_its_formula(k: int, heaviside: bool) -> None:
    w, x = weights(), tokens(d_in=D_IN)
    dictionary = build(w, k=str(k), heaviside=str(heaviside))
    z = explicit(w, x, k, heaviside)
    assert len((z[:, ::1] != 0).view(len(x), EXPERTS, SIZE).any(dim=(0, 2)).nonzero()) > 1
    behaves(dictionary, x, z, w["decoder"], w["b_dec"])
    assert dictionary.info.k == k


def test_a_saved_file_is_loaded_by_its_settings(tmp_path: Path) -> None:
    path, x = tmp_path / "ae.pt", tokens(d_in=D_IN)
    torch.save(weights(), path)
    dictionary = load(path, settings=SETTINGS.items())
    torch.testing.assert_close(dictionary.encode(x), explicit(weights(), x, 5, False))


def test_the_trainers_configuration_says_it_too() -> None:
    trainer = {"k": 5, "experts": 4, "heaviside": True, "lm_name": "gpt2", "layer": 8}
    what = content(weights(), {"trainer": trainer})
    dictionary, x = switch_sae.build(what, device="cpu", dtype=None), tokens(d_in=D_IN)
    torch.testing.assert_close(dictionary.encode(x), explicit(weights(), x, 5, True))
    info = dictionary.info
    assert (info.model, info.hook_in) == ("gpt2", "blocks.8.hook_resid_post")


@pytest.mark.parametrize("missing", SETTINGS)
def test_what_the_file_leaves_out_is_asked_for(missing: str) -> None:
    given = {name: value for name, value in SETTINGS.items() if name != missing}
    what = content(weights(), **given)
    with pytest.raises(DictionaryError, match=rf"does not say {missing}\. .* --sae=switch_sae,k="):
        switch_sae.build(what, device="cpu", dtype=None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"experts": "5"}, r"experts = 5, and has a router to 4 .* Expected experts=4"),
        ({"k": "0"}, r"k=0. Expected a whole number from 1"),
        ({"k": "41"}, r"k = 41. Expected a whole number from 1 to 40"),
        ({"heaviside": "perhaps"}, r"heaviside=perhaps. Expected true or false"),
        ({"expert": "4"}, r"Did you mean 'experts'"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(DictionaryError, match=message):
        build(**settings)


SPOILED: list[tuple[Callable[[dict[str, Tensor]], object], str]] = [
    (lambda w: w.update(decoder=w["decoder"].T.contiguous()), r"decoder has the shape \(12, 40\)"),
    (lambda w: w["router.weight"].fill_(torch.nan), r"router.weight \(48 NaN"),
    (lambda w: w["decoder"].zero_(), "all 40 decoder rows are zero"),
    (lambda w: w.pop("b_router"), "missing b_router"),
    (lambda w: w.update({"encoder.weight": random(40)}), "Expected two dimensions"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILED)
def test_spoiled_weights_are_refused(
    spoil: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    w = weights()
    spoil(w)
    with pytest.raises(DictionaryError, match=message):
        build(w)


def test_a_transposed_square_decoder_is_noticed_by_its_content() -> None:
    w = weights(d_in=EXPERTS * SIZE)
    w["decoder"] = w["encoder.weight"].T.contiguous()
    with pytest.raises(DictionaryError, match="only when it is transposed"):
        build(w)


def test_the_input_of_its_module_is_read_where_the_buffer_says_so() -> None:
    trainer = {"k": 5, "experts": 4, "heaviside": True, "submodule_name": "transformer.h.8"}
    for side, reads in (("in", "transformer.h.8.input"), ("out", "transformer.h.8")):
        what = content(weights(), {"trainer": trainer, "buffer": {"io": side}})
        assert switch_sae.build(what, device="cpu", dtype=None).info.hook_in == reads
