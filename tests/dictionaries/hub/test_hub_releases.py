"""`sae_lens:release/id`: sae_lens' table, in the terms of our families."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_sae.dictionaries.formats import registry
from pytest_sae.dictionaries.hub import releases
from pytest_sae.dictionaries.hub.releases import Release, find, settings
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import OptionError
from tests.dictionaries.contents import random
from tests.dictionaries.formats import dictionary_learning_files
from tests.dictionaries.hub.hub_cache_files import COMMIT, Files, below, cache, files_in
from tests.dictionaries.published_files import stored

JB = "gpt2-small-res-jb"


@pytest.fixture(scope="module")
def theirs() -> Any:
    """sae_lens' own reading of its table, and of what its loaders make of the names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_lens.loading import pretrained_sae_loaders
    return pretrained_sae_loaders


def refusal(text: str) -> str:
    with pytest.raises(OptionError, match="Expected") as caught:
        resolve([text])
    assert str(caught.value).startswith(f"--sae={text}")
    return str(caught.value)


def release(loader: str, folder: str = "layer_3/a", **given: Any) -> Release:
    return Release("lab/one", folder, loader, "lab/model", **given)


def test_the_table_is_read_as_sae_lens_reads_it(theirs: Any) -> None:
    directory = theirs.get_pretrained_saes_directory()
    table = releases.table()
    assert table.keys() == directory.keys()
    read = 0
    for name, entry in directory.items():
        for key, path in entry.saes_map.items():
            try:
                ours = find(f"{name}/{key}", "")
            except OptionError:
                continue  # said below
            read += 1
            assert (ours.repo, ours.folder) == (entry.repo_id, path)
            assert ours.loader == theirs.get_conversion_loader_name(name)
            assert ours.factor == entry.norm_scaling_factor.get(key)
            assert ours.overrides == (entry.config_overrides or {})
    assert read > 12_000


def test_every_loader_of_sae_lens_is_read_or_refused_with_a_reason(theirs: Any) -> None:
    named = {*releases._FAMILIES, *releases._REFUSED}
    unused = {"sparsify"}  # sparsify's own files have a family, and no release names its loader
    assert theirs.NAMED_PRETRAINED_SAE_LOADERS.keys() - unused == named
    assert set(releases._FAMILIES.values()) <= set(registry.NAMES)


def test_models_and_sites_of_gemma_scope_are_those_of_the_repository(theirs: Any) -> None:
    for name, entry in releases.table().items():
        if entry.get("conversion_func") != "gemma_2":
            continue
        for key in {str(sae["id"]) for sae in entry["saes"] if "layer_" in sae["path"]}:
            found = find(f"{name}/{key}", "")
            expected = theirs.get_gemma_2_config_from_hf(found.repo, found.folder, "cpu")
            assert settings(found, Path()) == {
                "model": f"google/{expected['model_name']}",
                "site": expected["hook_name"],
            }


def test_a_release_is_its_repository_at_a_commit_with_its_family(home: Path, topk: Files) -> None:
    first = releases.table()[JB]["saes"][0]
    cache(home, "jbloom/GPT2-Small-SAEs-Reformatted", below(first["path"], topk))
    spec = resolve([f"sae_lens:{JB}/{first['id']}"])[0]
    assert (spec.id, spec.family, spec.revision) == (first["path"], "sae_lens", COMMIT)
    assert spec.settings == (("center_writing_weights", "true"),)
    given = resolve([f"sae_lens,site=blocks.1,center_writing_weights=false:{JB}/{first['id']}"])[0]
    assert dict(given.settings) == {"site": "blocks.1", "center_writing_weights": "false"}


def test_a_local_path_after_the_family_stays_local(
    home: Path, sae_dirs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sae_dirs["topk"].parent)
    assert resolve(["sae_lens:topk"])[0].revision == ""
    for text in ("sae_lens:./nowhere", "sae_lens:/nowhere", "sae_lens:nowhere/*"):
        assert "table" not in refusal(text)


def test_an_unknown_release_or_id_is_told_the_nearest(home: Path) -> None:
    message = refusal("sae_lens:gpt2-small-res-jbb/blocks.8.hook_resid_pre")
    assert f"Did you mean '{JB}'?" in message
    assert "neither a path" in message
    message = refusal(f"sae_lens:{JB}/blocks.8.hook_resid_prf")
    assert "Did you mean 'blocks.8.hook_resid_pre'?" in message
    assert "and 5 more" in refusal(f"sae_lens:{JB}")


@pytest.mark.parametrize(
    "text",
    [
        "gpt2-small-hook-z-kk/blocks.5.hook_z",
        "goodfire-llama-3.1-8b-instruct/layer_19",
        "deepseek-r1-distill-llama-8b-qresearch/blocks.19.hook_resid_post",
    ],
)
def test_weights_that_come_alone_compute_what_sae_lens_computes_with_them(
    text: str, home: Path, tmp_path: Path, theirs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sae_lens import StandardSAE, StandardSAEConfig

    name, key = text.split("/")
    found = find(text, "")
    files = stored(found, name, key)
    spoken = {"b_enc": random(16, seed=2), "b_dec": random(8, seed=3)}
    biases = {each: spoken[_bias(each)] for each in files.tensors if _bias(each)}
    torch.save({**files.tensors, **biases}, tmp_path / files.weights)
    if files.config:
        (tmp_path / files.config).write_text(json.dumps(files.content))
    monkeypatch.setattr(
        theirs, "hf_hub_download", lambda repo_id, filename, **_: str(tmp_path / filename)
    )
    load_theirs = theirs.NAMED_PRETRAINED_SAE_LOADERS[found.loader]
    config, state, _ = load_theirs(found.repo, found.folder)
    centred = config["apply_b_dec_to_input"]
    sae = StandardSAE(StandardSAEConfig(d_in=8, d_sae=16, apply_b_dec_to_input=centred))
    sae.load_state_dict({each: tensor.float() for each, tensor in state.items()})
    cache(home, found.repo, files_in(tmp_path))
    (spec,) = resolve([f"sae_lens:{text}"])
    ours, x = load(spec.path, family=spec.family, settings=spec.settings), random(60, 8, seed=9)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(x), sae.encode(x), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.reconstruct(x), sae(x), rtol=1e-5, atol=1e-5)
    assert (ours.info.model, ours.info.hook_in) == (config["model_name"], config["hook_name"])


def test_dictionaries_of_embeddings_are_sae_lens_with_the_decoders_bias_scaled_too(
    home: Path, tmp_path: Path, theirs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig

    text, d, m = "gemma-scope-2b-pt-res/embedding/width_4k/average_l0_6", 2304, 8
    w = {"W_enc": random(d, m, seed=1), "W_dec": random(m, d, seed=2)}
    w |= {"b_enc": random(m, seed=3), "b_dec": random(d, seed=4), "threshold": random(m).abs()}
    np.savez(tmp_path / "params.npz", **{name: tensor.numpy() for name, tensor in w.items()})
    monkeypatch.setattr(theirs, "hf_hub_download", lambda **_: str(tmp_path / "params.npz"))
    found = find(text, "")
    _, state, _ = theirs.gemma_2_sae_huggingface_loader(found.repo, found.folder)
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=d, d_sae=m, apply_b_dec_to_input=False))
    sae.load_state_dict(state)
    cache(home, found.repo, below(found.folder, files_in(tmp_path)))
    (spec,) = resolve([f"sae_lens:{text}"])
    ours, x = load(spec.path, family=spec.family, settings=spec.settings), random(9, d, seed=9)
    with torch.no_grad():
        z, without_bias = sae.encode(x), sae(x) - state["b_dec"]
        torch.testing.assert_close(ours.encode(x), z, rtol=1e-4, atol=1e-4)
        expected = without_bias + 48 * w["b_dec"]  # √2304 times all that it was trained to write
        torch.testing.assert_close(ours.reconstruct(x), expected, rtol=1e-4, atol=1e-3)
    assert (ours.info.model, ours.info.hook_in) == ("google/gemma-2-2b", "blocks.0.hook_resid_pre")


def _bias(name: str) -> str:
    """Which bias a tensor is, if it is one."""
    bias = name.startswith("b_") or name.endswith(".bias")
    return ("b_dec" if "dec" in name else "b_enc") if bias else ""


@pytest.mark.parametrize(
    ("text", "loader"),
    [
        ("mntss-gemma-2-2b-2.5m-clt-as-per-layer/layer_0", "mntss_clt_layer_transcoder"),
    ],
)
def test_what_no_family_reads_is_refused_with_its_loader(
    home: Path, text: str, loader: str
) -> None:
    assert f"loader {loader}, and not here: " in refusal(f"sae_lens:{text}")


def test_corrections_that_only_the_table_has_are_passed_as_settings(tmp_path: Path) -> None:
    overrides = {
        "dataset_path": "x/y",
        "model_from_pretrained_kwargs": {"center_writing_weights": True},
        "normalize_activations": "expected_average_only_in",
    }
    found = settings(release("sae_lens", factor=1.25, overrides=overrides), tmp_path)
    assert found == {
        "center_writing_weights": "true",
        "normalize_activations": "expected_average_only_in",
        "norm_factor": "1.25",
    }
    assert settings(release("sae_lens"), tmp_path) == {}
    assert settings(release("dictionary_learning_1"), tmp_path) == {}


@pytest.mark.parametrize(
    ("declared", "counts"),
    [("expected_average_only_in", True), (True, True), ("none", False), (False, False)],
)
def test_a_factor_counts_where_the_files_say_that_activations_were_scaled(
    tmp_path: Path, declared: object, counts: bool
) -> None:
    (tmp_path / "cfg.json").write_text(json.dumps({"normalize_activations": declared}))
    expected = {"norm_factor": "1.25"} if counts else {}
    assert settings(release("sae_lens", factor=1.25), tmp_path) == expected


def test_a_correction_that_no_family_knows_is_refused() -> None:
    new = release("sae_lens", overrides={"model_from_pretrained_kwargs": {"trimmed": True}})
    assert "corrects trimmed of it" in str(releases.refusal(new))


@pytest.mark.parametrize(
    ("part", "sites"),
    [
        ("resid_post_all", ["model.layers.3"]),
        ("attn_out", ["blocks.3.attn.hook_z"]),
        ("mlp_out", ["model.layers.3.post_feedforward_layernorm"]),
        (
            "transcoder",
            [
                "model.layers.3.pre_feedforward_layernorm",
                "model.layers.3.post_feedforward_layernorm",
            ],
        ),
    ],
)
def test_gemma_scope_2_without_a_configuration_is_known_by_its_names(
    tmp_path: Path, part: str, sites: list[str]
) -> None:
    one = Release("google/gemma-scope-2-1b-pt", f"{part}/layer_3_width_16k", "gemma_3", "x")
    names = dict(zip(("site", "site_out"), sites, strict=False))
    assert settings(one, tmp_path) == {"model": "google/gemma-3-1b-pt", **names}
    small = Release("google/gemma-scope-2-270m-pt", one.folder, "gemma_3", "x")
    assert settings(small, tmp_path)["model"] == "google/gemma-3-270m"
    (tmp_path / "config.json").write_text('{"model_name": "gemma-v3-1b-pt"}')
    assert settings(one, tmp_path) == {}


def test_the_mean_norm_of_llama_scope_is_the_files_own_where_they_have_one(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"d_model": 64}))
    ours = release("llama_scope_r1_distill", factor=16.0)
    assert settings(ours, tmp_path) == {"model": "lab/model", "norm_in": "0.5"}  # √64 / 16
    path.write_text(json.dumps({"d_model": 64, "dataset_average_activation_norm": {"in": 0.4}}))
    assert settings(ours, tmp_path) == {"model": "lab/model"}
    path.write_text("{")
    assert settings(ours, tmp_path) == {"model": "lab/model"}


def test_without_a_table_it_says_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    releases.table.cache_clear()
    monkeypatch.setattr(releases, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"sae-lens>=6\.50, or name the repository: --sae=hf:"):
        releases.table()
    monkeypatch.undo()
    assert releases.table()


def first_of(loader: str) -> tuple[str, str, str]:
    """The text, repository and folder of the table's first dictionary with a loader."""
    for name, entry in releases.table().items():
        if entry.get("conversion_func") == loader:
            sae = entry["saes"][0]
            return f"sae_lens:{name}/{sae['id']}", entry["repo_id"], sae["path"]
    raise AssertionError(loader)


def test_a_release_of_dictionary_learning_loads(home: Path, tmp_path: Path) -> None:
    text, repo, folder = first_of("dictionary_learning_1")
    directory = dictionary_learning_files.write(tmp_path / "dl", "BatchTopKSAE")
    cache(home, repo, below(folder, files_in(directory)))
    spec = resolve([text])[0]
    ours = load(spec.path, family=spec.family, settings=spec.settings)
    assert ours.fingerprint == load(directory).fingerprint


def test_a_release_of_gemma_scope_loads_with_its_model_and_site(home: Path, tmp_path: Path) -> None:
    text, repo, folder = first_of("gemma_2")
    wide = {"W_enc": (8, 16), "W_dec": (16, 8), "b_enc": 16, "b_dec": 8, "threshold": 16}
    random = np.random.default_rng(0)
    arrays = {name: random.random(shape, np.float32) for name, shape in wide.items()}
    np.savez(tmp_path / "params.npz", **arrays)
    cache(home, repo, {f"{folder}/params.npz": (tmp_path / "params.npz").read_bytes()})
    spec = resolve([text])[0]
    info = load(spec.path, family=spec.family, settings=spec.settings).info
    assert (info.model, info.hook_in) == ("google/gemma-2-27b", "blocks.10.hook_resid_post")
