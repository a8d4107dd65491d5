"""The BatchTopK repository's SAEs compute what its modules compute, written out token by token."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import DictionaryError
from tests.dictionaries.contents import CLOSE, behaves, random, tokens, unit
from tests.dictionaries.hub.hub_cache_files import below, cache, files_in

D, M, K = 12, 40, 5
HOOK = "blocks.8.hook_resid_pre"
# As its `save_checkpoint` writes the configuration: what is no number or text becomes a text.
CONFIG = {
    "seed": 49,
    "lr": 0.0003,
    "seq_len": 128,
    "dtype": "torch.float32",
    "model_name": "gpt2-small",
    "site": "resid_pre",
    "layer": 8,
    "act_size": D,
    "dict_size": M,
    "device": "cuda:0",
    "input_unit_norm": False,
    "n_batches_to_dead": 5,
    "top_k": K,
    "top_k_aux": 512,
    "bandwidth": 0.001,
    "hook_point": HOOK,
    "sae_type": "topk",
}


def weights(**more: Tensor) -> dict[str, Tensor]:
    return {
        "b_dec": random(D, seed=4, scale=0.3),
        "b_enc": random(M, seed=3, scale=0.3),
        "W_enc": random(D, M, seed=1, scale=0.5),
        "W_dec": unit(M, D, seed=2),
        **more,
    }


def write(directory: Path, w: dict[str, Tensor] | None = None, **config: Any) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    torch.save(w or weights(), directory / "sae.pt")
    (directory / "config.json").write_text(json.dumps({**CONFIG, **config}, indent=4))
    return directory


def explicit(kind: str, w: dict[str, Tensor], token: Tensor) -> Tensor:
    """The latents of one token, as the classes of the repository have them."""
    if kind == "jumprelu":
        before = torch.relu(token @ w["W_enc"] + w["b_enc"])
        return before * (before > torch.exp(w["jumprelu.log_threshold"]))
    before = (token - w["b_dec"]) @ w["W_enc"]
    if kind == "vanilla":
        return torch.relu(before + w["b_enc"])
    before = torch.relu(before)
    if kind == "topk":
        return torch.stack([b if (before > b).sum() < K else b * 0 for b in before])
    return torch.stack([b if b > w["threshold"] else b * 0 for b in before])


OWN = {
    "vanilla": {},
    "topk": {},
    "batchtopk": {"threshold": torch.tensor(0.7)},
    "jumprelu": {"jumprelu.log_threshold": random(M, seed=5, scale=0.3)},
}


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("kind", OWN)
def test_a_class_computes_its_formula(kind: str, normalised: bool, tmp_path: Path) -> None:
    w, x = weights(**OWN[kind]), tokens(d_in=D)
    dictionary = load(write(tmp_path, w, sae_type=kind, input_unit_norm=normalised))
    mean = x.mean(1, keepdim=True) if normalised else torch.zeros(len(x), 1)
    std = x.std(1, keepdim=True) if normalised else torch.ones(len(x), 1)
    entered = (x - mean) / (std + 1e-5) if normalised else x
    z = torch.stack([explicit(kind, w, token) for token in entered])
    assert 0 < (z != 0).sum() < z.numel()
    torch.testing.assert_close(dictionary.encode(x), z, **CLOSE)
    after = (z @ w["W_dec"] + w["b_dec"]) * std + mean
    torch.testing.assert_close(dictionary.reconstruct(x), after, **CLOSE)
    if not normalised:
        behaves(dictionary, x, z, w["W_dec"], w["b_dec"])


def test_it_says_where_it_belongs_and_what_the_model_was(tmp_path: Path) -> None:
    info = load(write(tmp_path)).info
    assert (info.model, info.hook_in, info.hook_out) == ("gpt2-small", HOOK, HOOK)
    assert (info.context_size, info.prepend_bos, info.k) == (128, True, K)
    assert info.family == "batch_topk.topk"
    arguments = info.trained_on["model_from_pretrained_kwargs"]
    assert arguments == dict.fromkeys(
        ("fold_ln", "center_writing_weights", "fold_value_biases"), True
    )


def refusal(path: Path, **settings: str) -> str:
    with pytest.raises(DictionaryError, match="Expected") as caught:
        load(path, settings=list(settings.items()))
    return str(caught.value)


def test_latents_that_compete_with_other_tokens_are_refused_with_both_ways_out(
    tmp_path: Path,
) -> None:
    directory = write(tmp_path, sae_type="batchtopk")
    message = refusal(directory)
    assert f"--sae=batch_topk,threshold=T:{directory}" in message
    assert f"--sae=batch_topk,sae_type=topk:{directory}" in message
    assert "given: big" in refusal(directory, threshold="big")
    x = tokens(d_in=D)
    for given, kind, own in (
        ({"threshold": "0.7"}, "batchtopk", {"threshold": torch.tensor(0.7)}),
        ({"sae_type": "topk"}, "topk", {}),
    ):
        w = weights(**own)
        z = torch.stack([explicit(kind, w, token) for token in x])
        found = load(directory, settings=list(given.items()))
        torch.testing.assert_close(found.encode(x), z, **CLOSE)


def test_matryoshka_groups_are_nested_dictionaries(tmp_path: Path) -> None:
    w, x = weights(**OWN["batchtopk"]), tokens(d_in=D)
    directory = write(tmp_path, w, sae_type="global-matryoshka-topk", group_sizes="[8, 12, 20]")
    whole = load(directory)
    assert whole.info.prefixes == (8, 20, 40)
    first = load(directory, settings=[("prefix", "20")])
    torch.testing.assert_close(first.encode(x), whole.encode(x)[:, :20], **CLOSE)
    assert "8, 20, 40" in refusal(directory, prefix="9")


def test_attention_saes_of_the_hub_find_the_configuration_of_their_name(
    tmp_path: Path, home: Path
) -> None:
    """Kissane's and Conmy's: a configuration beside each, which says no class: the plain one."""
    about = {"model_name": "gpt2-small", "act_name": "blocks.5.attn.hook_z", "seq_len": 128}
    name = "gpt2-small_L5_Hcat_z_lr1.20e-03_ds24576_v9"
    torch.save(weights(), tmp_path / f"{name}.pt")
    config = {"act_size": D, "dict_size": M, "site": "z", "layer": 5, **about}
    (tmp_path / f"{name}_cfg.json").write_text(json.dumps(config))
    x = tokens(d_in=D)
    z = torch.stack([explicit("vanilla", weights(), token) for token in x])
    ours = load(tmp_path / f"{name}.pt")
    torch.testing.assert_close(ours.encode(x), z, **CLOSE)
    assert ours.info.hook_in == "blocks.5.attn.hook_z"
    files = {each: content for each, content in files_in(tmp_path).items() if each.startswith("g")}
    cache(home, "lab/attn", below("all", files))
    fetched = load(resolve([f"hf:lab/attn/all/{name}.pt"])[0].path).info
    assert replace(fetched, source="") == replace(ours.info, source="")


@pytest.mark.parametrize("biased", [True, False])
def test_the_first_version_says_whether_it_adds_its_bias(biased: bool, tmp_path: Path) -> None:
    w, x = weights(), tokens(d_in=D)
    found = load(write(tmp_path, w, use_encoder_bias=biased, activation="relu"))
    before = torch.relu((x - w["b_dec"]) @ w["W_enc"] + (w["b_enc"] if biased else 0))
    least = before.topk(K, dim=1).values[:, -1:]
    torch.testing.assert_close(found.encode(x), before * (before >= least), **CLOSE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sae_type": "quantile"}, "sae_type = 'quantile'"),
        ({"sae_type": ["topk"]}, "sae_type = ['topk']"),
        ({"top_k": 0}, "top_k = 0"),
        ({"act_size": D + 1}, "has the shape"),
        ({"tied_weights": True}, "first version"),
        ({"activation": "gelu"}, "first version"),
        ({"use_encoder_bias": True, "input_unit_norm": True}, "first version"),
        ({"input_unit_norm": "yes"}, "true or false"),
        ({"model_name": 3}, "model_name is 3"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    assert said in refusal(write(tmp_path, **change))
