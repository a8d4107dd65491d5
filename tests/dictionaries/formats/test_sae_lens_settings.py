"""Corrections of sae_lens' configurations: every one is applied, to the last figure, or refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.dictionaries.formats.sae_lens_settings import CORRECTIONS, PROCESSING, SCALED
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import DictionaryError, SiteError
from pytest_sae.models.load import load as load_model
from pytest_sae.models.processing import Processing, declared
from pytest_sae.models.tokenize import batches
from pytest_sae.session.loaded import sites_of
from tests.dictionaries.contents import random
from tests.dictionaries.formats import sae_lens_files
from tests.dictionaries.hub.hub_cache_files import below, cache, files_in

D, M = 32, 48
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


def old_config(**changes: Any) -> dict[str, Any]:
    """A `cfg.json` of the years of the corrected releases: one flat object."""
    config = {
        "model_name": "gpt2-small",
        "hook_point": "blocks.1.hook_resid_pre",
        "hook_point_layer": 1,
        "hook_point_head_index": None,
        "d_in": D,
        "d_sae": M,
        "dtype": "torch.float32",
        "activation_fn": "relu",
        "apply_b_dec_to_input": True,
        "prepend_bos": True,
        "context_size": 16,
    }
    return {**config, **changes}


def weights() -> dict[str, Tensor]:
    return {
        "W_enc": random(D, M, seed=1),
        "W_dec": torch.nn.functional.normalize(random(M, D, seed=2), dim=1),
        "b_enc": random(M, seed=3, scale=0.1),
        "b_dec": random(D, seed=4, scale=0.1),
    }


def write(directory: Path, w: Mapping[str, Tensor], config: Mapping[str, Any]) -> Path:
    from safetensors.torch import save_file

    directory.mkdir(parents=True, exist_ok=True)
    save_file({n: t.contiguous() for n, t in w.items()}, directory / "sae_weights.safetensors")
    (directory / "cfg.json").write_text(json.dumps(config))
    return directory


def published(home: Path, release: str, key: str, config: Mapping[str, Any]) -> Dictionary:
    """The dictionary that `sae_lens:release/key` gives from a faked hub."""
    from pytest_sae.dictionaries.hub import releases

    entry = releases.table()[release]
    folder = next(each["path"] for each in entry["saes"] if each["id"] == key)
    directory = write(home.parent / "made", weights(), config)
    cache(home, entry["repo_id"], below(folder, files_in(directory)))
    spec = resolve([f"sae_lens:{release}/{key}"])[0]
    return load(spec.path, family=spec.family, settings=spec.settings)


def explicit(w: Mapping[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Codes and reconstruction of a standard SAE, written out."""
    z = ((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]).clamp(min=0)
    return z, z @ w["W_dec"] + w["b_dec"]


def agree(dictionary: Dictionary, x: Tensor, z: Tensor, after: Tensor) -> None:
    torch.testing.assert_close(dictionary.encode(x), z, **CLOSE)
    torch.testing.assert_close(dictionary.reconstruct(x), after, **CLOSE)


def test_every_correction_is_known_to_both_halves() -> None:
    """The settings of processing are those that a model's half knows, one by one."""
    for name in PROCESSING:
        given = {"model_from_pretrained_kwargs": {name: True}}
        if name in {each.name for each in fields(Processing)}:
            assert declared(given) == Processing(**{name: True})
        else:
            with pytest.raises(SiteError, match=name):
                declared(given)
    assert {each.name for each in fields(Processing)} <= {*PROCESSING} <= {*CORRECTIONS}


@pytest.fixture
def gpt2(home: Path, tmp_path: Path, model_dir: Path) -> Path:
    """A random GPT-2 in the hub's cache, whose stream has a mean."""
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=D, n_layer=3, n_head=4, n_positions=64, bos_token_id=1
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hf = GPT2LMHeadModel(config)
        with torch.no_grad():
            hf.transformer.wte.weight += 0.5
    directory = tmp_path / "gpt2"
    hf.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    cache(home, "gpt2", files_in(directory))
    return directory


def test_centred_writing_weights_are_read_at_a_centred_stream(home: Path, gpt2: Path) -> None:
    """gpt2-small-res-jb: the stream that it reads is the model's own without its mean."""
    dictionary = published(home, "gpt2-small-res-jb", "blocks.1.hook_resid_pre", old_config())
    model = load_model(str(dictionary.info.model), device="cpu")
    site, site_out = sites_of(dictionary.info, model)
    batch = batches(["w0 w1", "w2 w3 w4"], model.tokenizer, 8, True)[0]
    x = model.capture(batch, [site])[site]
    hidden = model.hf(batch.ids, attention_mask=batch.attention.long(), output_hidden_states=True)
    stream = hidden.hidden_states[1]
    assert stream.mean(-1).abs().max() > 0.1
    torch.testing.assert_close(x, stream - stream.mean(-1, keepdim=True), **CLOSE)
    assert site_out == site
    z, after = explicit(weights(), x[0])
    agree(dictionary, x[0], z, after)


def test_without_the_correction_the_stream_keeps_its_mean(home: Path, gpt2: Path) -> None:
    dictionary = published(home, "gpt2-small-res-jb", "blocks.1.hook_resid_pre", old_config())
    path = dictionary.info.source
    plain = load(path)
    stated = load(path, settings=[("center_writing_weights", "true")])
    assert dictionary.info.trained_on == stated.info.trained_on != plain.info.trained_on
    model = load_model("gpt2-small", device="cpu")
    views = {each: sites_of(each.info, model)[0].view for each in (plain, stated, dictionary)}
    assert list(views.values()) == ["as it is", "centred", "centred"]


def test_a_factor_is_folded(home: Path) -> None:
    """gpt2-small-mlp-tm: x̂(x) = x̂'(f x) / f, with the table's f."""
    config = old_config(hook_point="blocks.0.hook_mlp_out", normalize_activations=SCALED)
    dictionary = published(home, "gpt2-small-mlp-tm", "blocks.0.hook_mlp_out", config)
    f, x = 1.049317316132615, random(60, D, seed=9)
    z, after = explicit(weights(), f * x)
    agree(dictionary, x, z, after / f)
    assert dictionary.info.trained_on["model_from_pretrained_kwargs"] == {
        "center_writing_weights": True
    }


def test_the_table_s_factor_is_not_applied_to_what_was_not_scaled(home: Path) -> None:
    config = old_config(hook_point="blocks.0.hook_mlp_out", normalize_activations="none")
    dictionary = published(home, "gpt2-small-mlp-tm", "blocks.0.hook_mlp_out", config)
    x = random(60, D, seed=9)
    agree(dictionary, x, *explicit(weights(), x))


def test_a_normalisation_is_corrected(home: Path) -> None:
    """mistral-7b-res-wg: every token is brought to the norm √d, and back."""
    config = old_config(model_name="mistral-7b", normalize_activations="none")
    dictionary = published(home, "mistral-7b-res-wg", "blocks.8.hook_resid_pre", config)
    x = random(60, D, seed=9)
    factor = D**0.5 / x.norm(dim=1, keepdim=True)
    z, after = explicit(weights(), x * factor)
    agree(dictionary, x, z, after / factor)


@pytest.mark.parametrize("arch", ["standard", "topk", "abstopk", "jumprelu", "gated"])
def test_a_factor_is_folded_as_sae_lens_folds_it(tmp_path: Path, arch: str) -> None:
    from sae_lens import SAE

    own = {"k": 5} if "topk" in arch else {}
    path = sae_lens_files.write(tmp_path / arch, arch, normalize_activations=SCALED, **own)
    ours = load(path, settings=[("norm_factor", "0.25")])
    theirs = SAE.load_from_disk(str(path))
    theirs.fold_activation_norm_scaling_factor(0.25)
    x = 3 * random(60, D, seed=9)
    with torch.no_grad():
        agree(ours, x, theirs.encode(x), theirs(x))
    assert ours.fingerprint != load(path, settings=[("norm_factor", "0.5")]).fingerprint


@pytest.mark.parametrize("said", [{}, {"activation_fn_str": "relu"}, {"activation_fn": "topk"}])
def test_the_k_of_an_architecture_that_is_topk_stands_among_its_arguments(
    tmp_path: Path, said: dict[str, str]
) -> None:
    from sae_lens import SAE

    config = {n: value for n, value in old_config().items() if n != "activation_fn"}
    own = {"architecture": "topk", "activation_fn_kwargs": {"k": 5}, **said}
    path = write(tmp_path / "sae", weights(), {**config, **own})
    ours, theirs = load(path), SAE.load_from_disk(str(path))
    x = random(60, D, seed=9)
    with torch.no_grad():
        agree(ours, x, theirs.encode(x), theirs(x))
    assert ours.info.k == 5
    assert int((ours.encode(x) != 0).sum(1).max()) == 5


def test_a_correction_that_says_what_the_file_says_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "sae", weights(), old_config())
    given = [("normalize_activations", "none"), ("fold_ln", "false")]
    assert load(path, settings=given).fingerprint == load(path).fingerprint


def refusals() -> Iterator[tuple[dict[str, Any], list[tuple[str, str]], str]]:
    hooked, other = "HookedTransformer", "AutoModelForCausalLM"
    for text in ("0", "-1", "nan", "inf", "big"):
        yield {"normalize_activations": SCALED}, [("norm_factor", text)], "positive number"
    yield {}, [("norm_factor", "2")], "whose factor it is: leave it out"
    yield {"normalize_activations": SCALED}, [], "norm_factor="
    yield {}, [("normalize_activations", "sometimes")], "no version of sae_lens computes"
    yield {"model_class_name": hooked}, [("fold_ln", "perhaps")], "true or false"
    yield {"model_class_name": other}, [("fold_ln", "true")], "weights are not processed"


@pytest.mark.parametrize(("config", "given", "said"), list(refusals()))
def test_a_correction_that_cannot_be_applied_is_refused(
    tmp_path: Path, config: dict[str, Any], given: list[tuple[str, str]], said: str
) -> None:
    path = write(tmp_path / "sae", weights(), old_config(**config))
    with pytest.raises(DictionaryError, match=said):
        load(path, settings=given)


@pytest.mark.parametrize("arch", ["matching_pursuit", "transcoder"])
def test_a_factor_that_has_no_place_in_the_weights_is_refused(tmp_path: Path, arch: str) -> None:
    path = sae_lens_files.write(tmp_path / arch, arch)
    given = [("norm_factor", "2"), ("normalize_activations", SCALED)]
    with pytest.raises(DictionaryError, match=f"cannot be folded .* architecture {arch}"):
        load(path, settings=given)
