"""What the authors of temporal SAEs publish is what sae_lens makes of it."""

from __future__ import annotations

import contextlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from pytest_sae.dictionaries.formats import registry, temporal_published
from pytest_sae.dictionaries.formats.temporal import TemporalDictionary
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.preflight import require_site
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import DictionaryError
from tests.dictionaries.contents import content
from tests.dictionaries.formats.temporal_files import texts, weights, write_published
from tests.dictionaries.hub.hub_cache_files import below, cache, files_in

D, M = 16, 48
SITE = "blocks.12.hook_resid_post"


def theirs(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """sae_lens' module, by its own loader of these files."""
    from sae_lens.loading import pretrained_sae_loaders
    from sae_lens.saes.temporal_sae import TemporalSAE, TemporalSAEConfig

    def downloaded(repo_id: str, filename: str, **_: object) -> str:
        return str(directory / Path(filename).name)

    monkeypatch.setattr(pretrained_sae_loaders, "hf_hub_download", downloaded)
    config, state, _ = pretrained_sae_loaders.temporal_sae_huggingface_loader(
        "lab/temporal", "layer_12/temporal"
    )
    assert config["hook_name"] == SITE
    known = {field.name for field in fields(TemporalSAEConfig)}
    options = {name: value for name, value in config.items() if name in known}
    sae = TemporalSAE(TemporalSAEConfig(**{**options, "dtype": "float32"}))
    sae.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return sae.eval()


def loaded(directory: Path, **said: str) -> TemporalDictionary:
    dictionary = load(directory, settings=said.items())
    assert isinstance(dictionary, TemporalDictionary)
    return dictionary


@pytest.mark.parametrize("tied", [True, False])
def test_it_computes_what_sae_lens_computes(
    tied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = loaded(write_published(tmp_path / "sae", D, M, tied=tied), site=SITE)
    x, close = texts(D), {"rtol": 1e-4, "atol": 1e-4}
    with torch.no_grad():
        sae = theirs(tmp_path / "sae", monkeypatch)
        read = ours.in_context(x).flatten(0, 1)
        z, y = sae.encode(x).flatten(0, 1), sae(x).flatten(0, 1)
        torch.testing.assert_close(ours.reconstruct(read), y, **close)
        torch.testing.assert_close(ours.encode(read), z, **close)
    assert (z != 0).any()


def test_it_says_what_is_known_and_asks_for_the_site(tmp_path: Path) -> None:
    info = loaded(write_published(tmp_path / "sae", D, M)).info
    assert (info.model, info.context_size, info.prepend_bos) == ("lab/tiny", 500, True)
    assert (info.family, info.k, info.remarks) == ("sae_lens.temporal", 5, ())
    with pytest.raises(DictionaryError, match="does not declare hook_name"):
        require_site(info)


def test_a_release_of_the_table_says_the_site(home: Path, tmp_path: Path) -> None:
    made = files_in(write_published(tmp_path / "sae", D, M))
    cache(home, "canrager/temporalSAEs", below("gemma-2-2B/layer_12/temporal", made))
    (spec,) = resolve([f"sae_lens:temporal-sae-gemma-2-2b/{SITE}"])
    info = load(spec.path, family=spec.family, settings=spec.settings).info
    assert (info.model, info.hook_in) == ("gemma-2-2b", SITE)


def test_a_bias_of_one_row_is_the_bias(tmp_path: Path) -> None:
    directory = write_published(tmp_path / "sae", D, M)
    flat = loaded(directory).fingerprint
    path = directory / "latest_ckpt.safetensors"
    w = load_file(path)
    save_file({**w, "b": w["b"][None]}, path)
    assert loaded(directory).fingerprint == flat


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("sae_diff_type: topk", "sae_diff_type: batchtopk", "Expected topk or relu"),
        ("  kval_topk: 5\n", "", "declares no kval_topk"),
        ("exp_factor: 3.0", "exp_factor: .nan", "d_sae = None"),
        ("exp_factor: 3.0", "exp_factor: 2.0", "has the shape"),
        ("dimin: 16", "dimin: wide", "d_in = 'wide'"),
        ("scaling_factor: 0.4", "scaling_factor: none", "Expected the factor of training"),
        ("  n_heads: 2", "  n_heads: 2\n  input_norm: true", "sae.input_norm = True"),
    ],
)
def test_what_is_not_said_or_not_known_is_refused(
    before: str, after: str, said: str, tmp_path: Path
) -> None:
    path = write_published(tmp_path / "sae", D, M) / "conf.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(DictionaryError, match="Expected") as caught:
        load(path.parent)
    assert said in str(caught.value)


scalars = st.none() | st.booleans() | st.integers(-3, 9) | st.integers() | st.floats()
odd = scalars | st.text(max_size=3) | st.lists(scalars, max_size=2)
KEYS = ("dimin", "model_hf_name", *temporal_published.KEYS.inside["sae"].used, "context_length")


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["llm", "sae", "data"]), st.sampled_from(KEYS), odd | st.just(10**400))
def test_whatever_its_configuration_says_it_is_read_or_refused(
    part: str, key: str, value: object
) -> None:
    config: dict[str, Any] = {
        "llm": {"model_hf_name": "lab/tiny", "dimin": D},
        "sae": {
            "exp_factor": 3, "n_heads": 2, "n_attn_layers": 1, "bottleneck_factor": 4,
            "kval_topk": 5, "tied_weights": True, "scaling_factor": 0.4,
        },
        "data": {},
    }  # fmt: skip
    config[part] = {**config[part], key: value}
    with contextlib.suppress(DictionaryError):
        what = content(weights(D, M, True), config)
        assert registry.build(what, "", device="cpu", dtype=None).d_sae == M
