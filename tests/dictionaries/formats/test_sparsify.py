"""sparsify's SAEs and transcoders compute their formula, and what sparsify computes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.dictionaries.formats import sparsify
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import DictionaryError
from tests.dictionaries.contents import behaves, content, largest, random, tokens
from tests.dictionaries.formats.upstream import submodule
from tests.dictionaries.hub.hub_cache_files import below, cache, files_in

D_IN, D_SAE, K = 12, 48, 6
CONFIG = {"activation": "topk", "k": K, "d_in": D_IN, "num_latents": D_SAE, "expansion_factor": 32}
KINDS = [
    {},
    {"activation": "groupmax"},
    {"transcode": True},
    {"transcode": True, "skip_connection": True},
    {"transcode": True, "skip_connection": True, "activation": "groupmax"},
    {"num_latents": 0, "expansion_factor": D_SAE // D_IN},
]


def weights(**config: Any) -> dict[str, Tensor]:
    w = {
        "encoder.weight": random(D_SAE, D_IN, seed=1),
        "encoder.bias": random(D_SAE, seed=2, scale=0.1),
        "W_dec": random(D_SAE, D_IN, seed=3),
        "b_dec": random(D_IN, seed=4),
    }
    return w | ({"W_skip": random(D_IN, D_IN, seed=5)} if config.get("skip_connection") else {})


def build(w: dict[str, Tensor] | None = None, name: str = "layers.2", **config: Any) -> Dictionary:
    what = content(w or weights(**config), {**CONFIG, **config}, f"runs/{name}/sae.safetensors")
    assert sparsify.recognise(what)
    return sparsify.build(what, device="cpu", dtype=None)


def saved(directory: Path, **config: Any) -> Path:
    directory.mkdir(parents=True)
    save_file(weights(**config), directory / "sae.safetensors")
    (directory / "cfg.json").write_text(json.dumps({**CONFIG, **config}))
    return directory


def explicit(w: dict[str, Tensor], x: Tensor, config: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Latents, and what no latent writes."""
    entered = x if config.get("transcode") else x - w["b_dec"]
    before = entered @ w["encoder.weight"].T + w["encoder.bias"]
    const = w["b_dec"] + (x @ w["W_skip"].T if "W_skip" in w else torch.zeros_like(x))
    if config.get("signed"):
        return torch.where(largest(before.abs(), K) > 0, before, 0.0), const
    if config.get("activation") != "groupmax":
        return largest(before.clamp(min=0), K), const
    groups = before.clamp(min=0).view(len(x), K, -1)
    z = torch.where(groups == groups.max(dim=2, keepdim=True).values, groups, 0.0)
    return z.view(len(x), -1), const


@pytest.mark.parametrize("config", [*KINDS, {"signed": True}], ids=str)
def test_a_dictionary_computes_its_formula(config: dict[str, Any]) -> None:
    x, w = tokens(d_in=D_IN), weights(**config)
    z, const = explicit(w, x, config)
    dictionary = build(w, **config)
    behaves(dictionary, x, z, w["W_dec"], const)
    assert torch.equal(dictionary.encoder_rows, w["encoder.weight"])
    assert dictionary.info.k == K


@pytest.mark.parametrize("config", KINDS, ids=str)
def test_a_dictionary_computes_what_sparsify_computes(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = submodule(monkeypatch, "sparsify.sparse_coder")
    directory = saved(tmp_path / "layers.2", **config)
    theirs = upstream.SparseCoder.load_from_disk(directory)
    dictionary, x = load(directory), tokens(d_in=D_IN)
    with torch.no_grad():
        values, indices, _ = theirs.encode(x)
        z = torch.zeros(len(x), D_SAE).scatter_(1, indices, values)
        torch.testing.assert_close(dictionary.encode(x), z, rtol=0, atol=1e-6)
        torch.testing.assert_close(dictionary.reconstruct(x), theirs(x).sae_out)


@pytest.mark.parametrize(
    ("name", "config", "expected"),
    [
        ("layers.2", {}, ("layers.2", "layers.2")),
        ("gpt_neox.layers.2.mlp", {}, ("gpt_neox.layers.2.mlp", "gpt_neox.layers.2.mlp")),
        ("layers.2.mlp", {"transcode": True}, ("blocks.2.mlp.hook_in", "layers.2.mlp")),
        ("h.11", {"transcode": True}, ("blocks.11.hook_resid_pre", "h.11")),
        ("layers.2.attn", {"transcode": True}, ("layers.2.attn", "layers.2.attn")),
        ("my-best-sae", {}, (None, None)),
        ("my-best-sae", {"hookpoint": "layers.7"}, ("layers.7", "layers.7")),
    ],
)
def test_the_site_is_the_configurations_else_the_directorys(
    name: str, config: dict[str, Any], expected: tuple[str, str]
) -> None:
    info = build(name=name, **config).info
    if name == "layers.2.attn":  # its input has no name: the run has to be told
        expected = (None, "layers.2.attn")
    assert (info.hook_in, info.hook_out) == expected


@pytest.mark.parametrize("place", ["layers.2", "layers.2/seed3", "best/layers.2"])
def test_the_model_of_a_run_stands_in_the_directory_above(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run as sparsify's own command writes it: one configuration for all its dictionaries."""
    upstream = submodule(monkeypatch, "sparsify.__main__")
    own = import_module("sparsify.config").SparseCoderConfig(k=K, num_latents=D_SAE)
    run = upstream.RunConfig(
        sae=own,
        model="EleutherAI/pythia-70m",
        dataset="lab/texts",
        revision="step3000",
        ctx_len=512,
    )
    directory = tmp_path / place
    theirs = import_module("sparsify.sparse_coder").SparseCoder(D_IN, own)
    theirs.save_to_disk(directory)
    run.save_json((tmp_path / "best" if place.startswith("best") else tmp_path) / "config.json")
    ours, x = load(directory), tokens(d_in=D_IN)
    with torch.no_grad():
        torch.testing.assert_close(ours.reconstruct(x), theirs(x).sae_out, rtol=1e-5, atol=1e-5)
    info = ours.info
    assert info.model == "EleutherAI/pythia-70m@step3000"
    assert (info.hook_in, info.context_size, info.k) == ("layers.2", 512, K)
    assert load(directory, settings=[("model", "mine")]).info.model == "mine"


def test_the_run_of_a_repository_comes_with_its_dictionaries(tmp_path: Path, home: Path) -> None:
    saved(tmp_path / "run/layers.2")
    run = {"sae": {"k": K}, "model": "lab/model", "revision": None, "ctx_len": 64}
    (tmp_path / "run/config.json").write_text(json.dumps(run))
    cache(home, "lab/saes", below("topk", files_in(tmp_path / "run")))
    info = load(resolve(["hf:lab/saes/topk/layers.2"])[0].path).info
    assert (info.model, info.hook_in, info.context_size) == ("lab/model", "layers.2", 64)


@pytest.mark.parametrize("other", [{}, {"model": "a"}, {"sae": {}}, {"model_type": "llama"}])
def test_a_configuration_above_that_is_no_run_s_says_nothing(
    other: dict[str, Any], tmp_path: Path
) -> None:
    directory = saved(tmp_path / "layers.2")
    (tmp_path / "config.json").write_text(json.dumps(other))
    assert load(directory).info.model is None


def test_settings_say_the_site_before_the_directory_does() -> None:
    what = content(
        weights(), CONFIG, "layers.2/sae.safetensors", site="blocks.0.hook_out", model="m"
    )
    info = sparsify.build(what, device="cpu", dtype=None).info
    assert (info.hook_in, info.hook_out, info.model) == ("blocks.0.hook_out",) * 2 + ("m",)


def test_all_that_changes_the_result_changes_the_fingerprint() -> None:
    changes: list[dict[str, Any]] = [{}, {"k": 5}, {"transcode": True}, {"signed": True}]
    names = {build(**change).fingerprint for change in changes}
    assert len(names) == len(changes)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"k": None}, r"k = None. Expected a whole number from 1 to 48"),
    ({"k": 0}, r"k = 0. Expected a whole number from 1 to 48"),
    ({"k": D_SAE + 1}, r"k = 49. Expected a whole number from 1 to 48"),
    ({"activation": "groupmax", "k": 5}, r"groupmax with k = 5 for 48 latents"),
    ({"activation": "gelu"}, r"activation = 'gelu'"),
    ({"activation": "groupmax", "signed": True}, r"signed with topk alone"),
    ({"transcode": "yes"}, r"transcode = 'yes'. Expected true or false"),
    ({"num_latents": 24}, r"W_dec has the shape \(48, 12\). Expected \(24, 12\)"),
    ({"d_in": 11}, r"shape .* Expected"),
    ({"transcode": True, "skip_connection": True}, r"missing W_skip"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=str)
def test_an_impossible_configuration_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DictionaryError, match=message):
        build(weights(), **change)


def test_a_configuration_without_k_is_refused() -> None:
    what = content(weights(), {name: CONFIG[name] for name in CONFIG if name != "k"})
    with pytest.raises(DictionaryError, match="declares no k"):
        sparsify.build(what, device="cpu", dtype=None)


def transposed(w: dict[str, Tensor]) -> None:
    w["W_dec"] = w["W_dec"].T.contiguous()


def broken(w: dict[str, Tensor]) -> None:
    w["b_dec"][3] = torch.nan


SPOILED: list[tuple[Callable[[dict[str, Tensor]], object], str]] = [
    (transposed, r"W_dec has the shape \(12, 48\). Expected \(48, 12\)"),
    (broken, r"b_dec \(1 NaN, 0 Inf of 12\)"),
    (lambda w: w["W_dec"].zero_(), "all 48 decoder rows are zero"),
    (lambda w: w.update(surprise=w["b_dec"]), "unknown surprise"),
    (lambda w: w.update({"W_dec": w["W_dec"].int()}), "Expected floating point"),
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
    w = {
        "encoder.weight": random(24, 24, seed=1),
        "encoder.bias": random(24),
        "b_dec": random(24),
    }
    w["W_dec"] = w["encoder.weight"] + 0.5 * random(24, 24, seed=2)
    config = {"num_latents": 24, "d_in": 24}
    build(w, **config)
    transposed(w)
    with pytest.raises(DictionaryError, match="only when it is transposed"):
        build(w, **config)
    build(w, **config, transcode=True)  # what a transcoder writes need not resemble what it reads


def test_an_unknown_setting_is_refused_with_those_there_are() -> None:
    with pytest.raises(DictionaryError, match=r"'k', which .* Expected transcode, model"):
        sparsify.build(content(weights(), CONFIG, k="3"), device="cpu", dtype=None)


def test_a_skip_connection_alone_does_not_say_whether_it_is_a_transcoder() -> None:
    """Configurations of before there was the key, such as the published skip transcoders have."""
    w = weights(skip_connection=True)
    what = {name: value for name, value in CONFIG.items() if name != "transcode"}
    unsaid = content(w, {**what, "skip_connection": True}, "layers.5.mlp/sae.safetensors")
    with pytest.raises(DictionaryError, match=r"sparsify,transcode=true"):
        sparsify.build(unsaid, device="cpu", dtype=None)
    x = tokens(d_in=D_IN)
    for said in (True, False):
        settings = {"transcode": str(said).lower()}
        given = replace(unsaid, settings=settings)
        found = sparsify.build(given, device="cpu", dtype=None)
        declared = build(w, "layers.5.mlp", skip_connection=True, transcode=said)
        assert torch.equal(found.reconstruct(x), declared.reconstruct(x))
        assert found.info.hook_in == declared.info.hook_in


def test_the_runs_model_comes_with_its_revision_and_context() -> None:
    info = build(model="lab/tiny", revision="step3000", ctx_len=64).info
    assert (info.model, info.context_size) == ("lab/tiny@step3000", 64)
