"""dictionary_learning's classes compute what their own loader's object computes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import Tensor

from pytest_sae.dictionaries.load import load
from pytest_sae.errors import DictionaryError
from tests.dictionaries.formats import upstream
from tests.dictionaries.formats.dictionary_learning_files import (
    GROUPS,
    SHAPES,
    D,
    K,
    M,
    explicit,
    state_dict,
    tokens,
    write,
)

KINDS = tuple(SHAPES)
close = {"rtol": 1e-5, "atol": 1e-5}


def refusal(path: Path, **settings: str) -> str:
    with pytest.raises(DictionaryError, match="Expected") as caught:
        load(path, settings=list(settings.items()))
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_computes_its_formula(kind: str, tmp_path: Path) -> None:
    dictionary, x = load(write(tmp_path, kind)), tokens()
    z, reconstructed = explicit(kind, state_dict(kind), x)
    assert 0 < (z != 0).sum() < z.numel()
    torch.testing.assert_close(dictionary.reconstruct(x), reconstructed, **close)
    if kind == "AutoEncoder":
        z = z * state_dict(kind)["decoder.weight"].norm(dim=0)
    torch.testing.assert_close(dictionary.encode(x), z, **close)
    assert (dictionary.d_in, dictionary.d_out, dictionary.d_sae) == (D, D, M)


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_computes_what_its_own_loader_gives(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agrees_with_its_own_loader(kind, write(tmp_path, kind), monkeypatch)


@pytest.mark.parametrize("kind", ["BatchTopKSAE", "MatryoshkaBatchTopKSAE", "AutoEncoderTopK"])
def test_numbers_that_are_lists_of_one_are_read_as_its_own_loader_reads_them(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = state_dict(kind)
    state |= {name: state[name].reshape(1) for name in ("threshold", "k")}
    agrees_with_its_own_loader(kind, write(tmp_path, kind, state), monkeypatch)


def agrees_with_its_own_loader(kind: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainers = "dictionary_learning.trainers"
    places = {
        "AutoEncoderTopK": f"{trainers}.top_k",
        "BatchTopKSAE": f"{trainers}.batch_top_k",
        "MatryoshkaBatchTopKSAE": f"{trainers}.matryoshka_batch_top_k",
    }
    # Its training needs a tracing library that is not imported here, and nothing of it is called.
    monkeypatch.setitem(sys.modules, "nnsight", MagicMock())
    module = upstream.submodule(monkeypatch, places.get(kind, "dictionary_learning.dictionary"))
    theirs, x = getattr(module, kind).from_pretrained(directory / "ae.pt"), tokens()
    ours = load(directory)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(x), theirs.encode(x), **close)
        torch.testing.assert_close(ours.reconstruct(x), theirs(x), **close)


@pytest.mark.parametrize("kind", KINDS)
def test_ablating_latents_removes_what_is_no_longer_decoded(kind: str, tmp_path: Path) -> None:
    dictionary, x = load(write(tmp_path, kind)), tokens()
    rows = dictionary.decoder_rows
    assert rows is not None
    z, latents = dictionary.encode(x), torch.tensor([1, 8, 33])
    kept = z.clone()
    kept[:, latents] = 0
    after = dictionary.const(x)
    torch.testing.assert_close(
        dictionary.reconstruct(x) - dictionary.contribution(x, z, latents),
        after + kept @ rows,
        **close,
    )


def test_the_decoder_of_an_autoencoder_gets_rows_of_length_one_and_dead_rows_stay(
    tmp_path: Path,
) -> None:
    state = state_dict("AutoEncoder")
    state["decoder.weight"][:, 3] = 0
    rows = load(write(tmp_path, "AutoEncoder", state)).decoder_rows
    assert rows is not None
    lengths = torch.ones(M)
    lengths[3] = 0
    torch.testing.assert_close(rows.norm(dim=1), lengths)


def test_an_autoencoder_stored_in_half_precision_is_normalised_in_single(tmp_path: Path) -> None:
    half = {name: tensor.bfloat16() for name, tensor in state_dict("AutoEncoder").items()}
    dictionary, x = load(write(tmp_path, "AutoEncoder", half)), tokens()
    single = {name: tensor.float() for name, tensor in half.items()}
    expected = explicit("AutoEncoder", single, x)[1]
    torch.testing.assert_close(dictionary.reconstruct(x), expected, **close)


@pytest.mark.parametrize(
    ("trainer", "hook"),
    [
        ({}, "blocks.3.hook_resid_post"),
        ({"submodule_name": "mlp_out_layer_7"}, "blocks.7.hook_mlp_out"),
        ({"submodule_name": "attention_out_layer7"}, "blocks.7.hook_attn_out"),
        ({"submodule_name": "mlp_out", "layer": 2}, "blocks.2.hook_mlp_out"),
        ({"submodule_name": "resid_post", "layer": [2]}, "blocks.2.hook_resid_post"),
        ({"submodule_name": ["resid_post_layer_4"], "layer": [2]}, "blocks.4.hook_resid_post"),
        ({"submodule_name": "gpt_neox.layers.3.mlp"}, "gpt_neox.layers.3.mlp"),
        ({"submodule_name": None}, None),
    ],
)
def test_the_submodule_is_honoured_and_none_is_guessed(
    trainer: dict[str, Any], hook: str | None, tmp_path: Path
) -> None:
    info = load(write(tmp_path, "AutoEncoderTopK", **trainer)).info
    assert (info.hook_in, info.hook_out) == (hook, hook)
    assert info.model == "EleutherAI/pythia-70m-deduped"
    assert (info.context_size, info.k, info.family) == (128, K, "dictionary_learning.topk")


def test_settings_say_the_site_and_the_model(tmp_path: Path) -> None:
    settings = [("site", "blocks.1.hook_mlp_out"), ("model", "other")]
    info = load(write(tmp_path, "AutoEncoder"), settings=settings).info
    assert (info.hook_in, info.hook_out, info.model) == (
        "blocks.1.hook_mlp_out",
        "blocks.1.hook_mlp_out",
        "other",
    )


@pytest.mark.parametrize("kind", ["BatchTopKSAE", "MatryoshkaBatchTopKSAE"])
def test_a_threshold_that_training_never_set_is_refused(kind: str, tmp_path: Path) -> None:
    state = state_dict(kind)
    state["threshold"] = torch.tensor(-1.0)
    assert "1 of 1 thresholds below 0 (least -1)" in refusal(write(tmp_path, kind, state))


def test_the_threshold_of_the_per_token_class_is_never_used(tmp_path: Path) -> None:
    state = state_dict("AutoEncoderTopK")
    plain = load(write(tmp_path / "a", "AutoEncoderTopK", state))
    state["threshold"] = torch.tensor(3.0)
    other = load(write(tmp_path / "b", "AutoEncoderTopK", state))
    assert torch.equal(plain.encode(tokens()), other.encode(tokens()))
    assert plain.fingerprint == other.fingerprint


def test_matryoshka_groups_are_nested_dictionaries(tmp_path: Path) -> None:
    directory, x = write(tmp_path, "MatryoshkaBatchTopKSAE"), tokens()
    whole = load(directory)
    assert whole.info.prefixes == (6, 16, 40)
    for prefix in whole.info.prefixes:
        nested = load(directory, settings=[("prefix", str(prefix))])
        z = whole.encode(x)[:, :prefix]
        torch.testing.assert_close(nested.encode(x), z, **close)
        w = state_dict("MatryoshkaBatchTopKSAE")
        expected = z @ w["W_dec"][:prefix] + w["b_dec"]
        torch.testing.assert_close(nested.reconstruct(x), expected, **close)
    assert "6, 16, 40" in refusal(directory, prefix="7")


@pytest.mark.parametrize(
    "sizes",
    [torch.tensor([6, 10, 25]), torch.tensor([0, 40]), torch.tensor([40.0]), torch.tensor(40)],
)
def test_groups_that_do_not_add_up_are_refused(sizes: Tensor, tmp_path: Path) -> None:
    state = {**state_dict("MatryoshkaBatchTopKSAE"), "group_sizes": sizes}
    assert "group_sizes" in refusal(write(tmp_path, "MatryoshkaBatchTopKSAE", state))
    assert sum(GROUPS) == M


@pytest.mark.parametrize("kind", ["AutoEncoder", "GatedAutoEncoder", "MatryoshkaBatchTopKSAE"])
def test_without_a_configuration_the_tensors_tell_the_class(kind: str, tmp_path: Path) -> None:
    directory = write(tmp_path, kind)
    told = load(directory)
    (directory / "config.json").unlink()
    found = load(directory / "ae.pt")
    assert found.info.family == told.info.family
    assert found.info.hook_in is None
    assert torch.equal(found.encode(tokens()), told.encode(tokens()))


def test_top_k_and_batch_top_k_are_told_apart_by_the_user(tmp_path: Path) -> None:
    directory = write(tmp_path, "BatchTopKSAE")
    told = load(directory).encode(tokens())
    (directory / "config.json").unlink()
    path = directory / "ae.pt"
    assert "AutoEncoderTopK or BatchTopKSAE" in refusal(path)
    assert "dict_class=" in refusal(path)
    found = load(path, settings=[("dict_class", "BatchTopKSAE")])
    assert torch.equal(found.encode(tokens()), told)
    per_token = load(path, settings=[("dict_class", "AutoEncoderTopK")])
    assert int((per_token.encode(tokens()) != 0).sum(1).max()) == K


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.update(k=torch.tensor(5)), "k = 5 in the weights and k = 4 in config.json"),
        (lambda s: s.update(k=torch.tensor(0)), "k = 0"),
        (lambda s: s.update(k=torch.tensor(41)), "from 1 to 40"),
        (lambda s: s.update(k=torch.tensor([3, 4])), "k = (2,)"),
        (lambda s: s.update(b_dec=torch.ones(D + 1)), "b_dec has the shape"),
        (lambda s: s.pop("b_dec"), "missing b_dec"),
        (lambda s: s.update(more=torch.ones(2)), "unknown more"),
        (lambda s: s["encoder.weight"].fill_(torch.nan), "not finite"),
        (lambda s: s["decoder.weight"].zero_(), "decoder rows are zero"),
        (lambda s: s.update({"encoder.weight": torch.ones(3)}), "one of the shape (3,)"),
        (lambda s: s.clear(), "of encoder.weight there is none"),
    ],
)
def test_spoiled_weights_are_refused(
    change: Callable[[dict[str, Tensor]], object], named: str, tmp_path: Path
) -> None:
    state = state_dict("AutoEncoderTopK")
    change(state)
    assert named in refusal(write(tmp_path, "AutoEncoderTopK", state))


def test_k_may_stand_in_the_configuration_alone_but_somewhere(tmp_path: Path) -> None:
    state = {n: t for n, t in state_dict("AutoEncoderTopK").items() if n not in ("k", "threshold")}
    directory = write(tmp_path, "AutoEncoderTopK", state)
    assert load(directory).info.k == K
    config = json.loads((directory / "config.json").read_text())
    config["trainer"].pop("k")
    (directory / "config.json").write_text(json.dumps(config))
    assert "no k" in refusal(directory)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_another_class_are_refused(kind: str, tmp_path: Path) -> None:
    for other in KINDS:
        if other != kind and {kind, other} != {"AutoEncoderTopK", "BatchTopKSAE"}:
            message = refusal(write(tmp_path / other, kind, state_dict(other)))
            assert "missing" in message or "shape" in message or "there is none" in message


def test_an_unknown_class_is_refused(tmp_path: Path) -> None:
    directory = write(tmp_path, "AutoEncoder", dict_class="MyAutoEncoder")
    message = refusal(directory)
    assert "trained as dict_class = 'MyAutoEncoder', which is not read here" in message
    assert f"--sae=dictionary_learning,dict_class=AutoEncoder:{directory}" in message
    told = load(directory, settings=[("dict_class", "AutoEncoder")])
    assert told.fingerprint == load(write(tmp_path / "known", "AutoEncoder")).fingerprint
    given = refusal(write(tmp_path, "AutoEncoder"), dict_class="GatedAutoEncoder")
    assert "'AutoEncoder' and is given 'GatedAutoEncoder'" in given


def test_a_text_for_the_model_that_is_none_is_refused(tmp_path: Path) -> None:
    assert "model_name is 3" in refusal(write(tmp_path, "AutoEncoder", lm_name=3))


@pytest.mark.parametrize(
    ("named", "reads"),
    [
        ("resid_post_layer_3", "blocks.3.hook_resid_pre"),
        ("resid_pre_layer_3", "blocks.3.hook_resid_pre"),
        ("mlp_out_layer_3", "blocks.3.mlp.hook_in"),
        ("attention_out_layer_3", "blocks.3.ln1.hook_out"),
        ("model.layers.3", "model.layers.3.input"),
        ("gpt_neox.layers.3.mlp", "gpt_neox.layers.3.mlp.input"),
    ],
)
def test_the_buffer_says_whether_a_module_is_read_before_it_or_after(
    named: str, reads: str, tmp_path: Path
) -> None:
    path = write(tmp_path, "AutoEncoder", submodule_name=named)
    after = load(path).info
    assert after.hook_in == after.hook_out
    sides = {"out": (after.hook_in, after.hook_in), "in": (reads, reads)}
    for side, expected in {**sides, "in_and_out": (reads, after.hook_in)}.items():
        info = load(with_buffer(path, io=side)).info
        assert (info.hook_in, info.hook_out) == expected
        assert info.remarks == ()


def test_a_side_that_no_module_has_is_refused(tmp_path: Path) -> None:
    assert "buffer.io = 'inout'" in refusal(with_buffer(write(tmp_path, "AutoEncoder"), io="inout"))


def test_one_of_single_heads_is_refused(tmp_path: Path) -> None:
    path = with_buffer(write(tmp_path, "AutoEncoder"), layer=3)
    assert "heads one by one" in refusal(path)
    assert load(path, settings=[("ignore", "layer")]).info.hook_in == "blocks.3.hook_resid_post"


def with_buffer(path: Path, **changes: object) -> Path:
    config = json.loads((path / "config.json").read_text())
    config["buffer"].update(changes)
    (path / "config.json").write_text(json.dumps(config))
    return path
