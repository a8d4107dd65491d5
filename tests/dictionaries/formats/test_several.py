"""Dictionaries of several sites, measured at each: what they compute there, token by token."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_sae.dictionaries.formats import registry
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.prove import prove
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import DictionaryError, OptionError
from tests.dictionaries.contents import behaves, content, tokens
from tests.dictionaries.formats import several_files as files

KINDS = ("crosscoder", "clt")
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("crosscoder", {}),
    ("crosscoder", {"act_fn": "topk"}),
    ("crosscoder", {"act_fn": "relu"}),
    ("crosscoder", {"norm_activation": "inference"}),
    ("clt", {}),
    ("clt", {"act_fn": "topk"}),
    ("clt", {"norm_activation": "inference"}),
    ("clt", {"sparsity_include_decoder_norm": False}),
]


@pytest.mark.parametrize("at", range(files.SITES))
@pytest.mark.parametrize(("kind", "change"), VARIANTS, ids=str)
def test_at_each_site_it_computes_what_a_loop_over_tokens_and_latents_gives(
    kind: str, change: dict[str, Any], at: int
) -> None:
    config = files.configured(kind, **change)
    w = getattr(files, kind)(**change)
    dictionary = registry.family(kind).build(
        content(w, config, at=str(at)), device="cpu", dtype=None
    )
    read = files.SITES if kind == "crosscoder" else at + 1
    x = [tokens(9, files.D, seed=30 + site) for site in range(files.SITES)]
    z, y = files.explicit(kind, config, w, at, x)
    rows, bias = dictionary.decoder_rows, dictionary.const(torch.zeros(1, read * files.D))
    behaves_at_one_site(dictionary, torch.cat(x[:read], dim=1), z, y)
    assert dictionary.info.hook_in == "+".join(
        config["hook_points" if kind == "crosscoder" else "hook_points_in"][:read]
    )
    assert dictionary.info.hook_out == (files.HOOKS if kind == "crosscoder" else files.WRITES)[at]
    assert rows is not None
    torch.testing.assert_close(z @ rows + bias, y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("at", range(files.SITES))
@pytest.mark.parametrize("act_fn", ["jumprelu", "topk", "relu"])
def test_a_crosscoder_may_scale_each_token_of_each_site_by_itself(act_fn: str, at: int) -> None:
    change = {"act_fn": act_fn, "norm_activation": "token-wise"}
    config, w = files.configured("crosscoder", **change), files.crosscoder(**change)
    what = content(w, config, at=str(at))
    dictionary = registry.family("crosscoder").build(what, device="cpu", dtype=None)
    x = [(1 + site) * tokens(9, files.D, seed=30 + site) for site in range(files.SITES)]
    z, y = files.explicit("crosscoder", config, w, at, x)
    beside = torch.cat(x, dim=1)
    torch.testing.assert_close(dictionary.encode(beside), z, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dictionary.reconstruct(beside), y, rtol=1e-4, atol=1e-4)
    prove(dictionary)


def behaves_at_one_site(dictionary: Any, x: torch.Tensor, z: torch.Tensor, y: torch.Tensor) -> None:
    """Assert that latents, reconstruction and ablation are those of the witness."""
    rows, bias = dictionary.decoder_rows, dictionary.const(x)[0]
    behaves(dictionary, x, z, rows, bias, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dictionary.reconstruct(x), y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_recognised_by_its_content_and_a_site_may_be_named(kind: str, tmp_path: Path) -> None:
    directory = files.write(tmp_path / kind, kind)
    name = (files.HOOKS if kind == "crosscoder" else files.WRITES)[1]
    by_name, by_index = (load(directory, settings=[("at", at)]) for at in (name, "1"))
    assert by_name.info.family == f"{kind}.jumprelu"
    assert by_name.fingerprint == by_index.fingerprint
    other = load(directory, settings=[("at", "2")])
    assert other.fingerprint != by_index.fingerprint


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [None, "3", "-1", "blocks.0.hook_resid_pre", "one"])
def test_without_a_site_of_its_own_it_says_which_there_are(
    kind: str, at: str | None, tmp_path: Path
) -> None:
    directory = files.write(tmp_path / kind, kind)
    settings = [] if at is None else [("at", at)]
    with pytest.raises(DictionaryError, match=r"Expected the one that it is to be") as caught:
        load(directory, settings=settings)
    for said in ("1 (blocks.1.", f"--sae=at=0:{directory}", f"--sae=at=each:{directory}"):
        assert said in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("typed", ["at=each:{}", "{kind},at=each:{}"])
def test_each_is_every_site_in_turn(kind: str, typed: str, tmp_path: Path) -> None:
    directory = files.write(tmp_path / kind, kind)
    specs = resolve([typed.format(directory, kind=kind)])
    assert [dict(spec.settings)["at"] for spec in specs] == ["0", "1", "2"]
    assert len({spec.id for spec in specs}) == files.SITES
    fingerprints = {load(spec.path, settings=spec.settings).fingerprint for spec in specs}
    assert len(fingerprints) == files.SITES


def test_each_of_a_dictionary_of_one_site_is_refused(sae_dirs: dict[str, Path]) -> None:
    with pytest.raises(OptionError, match="configuration lists none"):
        resolve([f"at=each:{sae_dirs['topk']}"])
    with pytest.raises(DictionaryError, match="does not have"):
        load(sae_dirs["topk"], settings=[("at", "0")])


def test_without_the_mean_norm_of_a_hook_it_is_refused(tmp_path: Path) -> None:
    directory = files.write(tmp_path / "one", "crosscoder")
    config = json.loads((directory / "config.json").read_text())
    del config[files.NORM][files.HOOKS[2]]
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(DictionaryError, match=r"mean norm .*add it to the configuration\."):
        load(directory, settings=[("at", "0")])


Spoil = Callable[[dict[str, Any], dict[str, Any]], object]
SPOILED: dict[str, tuple[str, str, Spoil]] = {
    "two models": ("crosscoder", "each once", lambda c, w: c.update(hook_points=["a", "a"])),
    "no hooks": ("crosscoder", "names of the hooks", lambda c, w: c.pop("hook_points")),
    "many": ("clt", "names of the hooks", lambda c, w: c.update(hook_points_in=["a"] * 10**6)),
    "uneven": ("clt", "as many of the one", lambda c, w: c["hook_points_in"].pop()),
    "no norm": (
        "crosscoder",
        "Expected true",
        lambda c, w: c.update(sparsity_include_decoder_norm=False),
    ),
    "all layers compete": ("clt", "'layertopk'", lambda c, w: c.update(act_fn="layertopk")),
    "k of more": ("clt", "from 1 to 20", lambda c, w: c.update(act_fn="topk", top_k=21)),
    "no latents": ("clt", "number of latents", lambda c, w: c.pop("expansion_factor")),
    "NaN": ("clt", "W_D.2 (1 NaN", lambda c, w: w["W_D.2"][0, 0].__setitem__(0, torch.nan)),
    "decoder lost": ("clt", "missing W_D.1", lambda c, w: w.pop("W_D.1")),
    "writes nothing": ("crosscoder", "rows are zero", lambda c, w: w["W_D"][0].zero_()),
    "scale": (
        "clt",
        "by the norm of what was to be written",
        lambda c, w: c.update(norm_activation="token-wise"),
    ),
    "scale of a batch": (
        "crosscoder",
        "'batch-wise'",
        lambda c, w: c.update(norm_activation="batch-wise"),
    ),
}


@pytest.mark.parametrize("case", SPOILED.values(), ids=SPOILED.keys())
def test_what_cannot_be_measured_is_refused(case: tuple[str, str, Spoil]) -> None:
    kind, said, spoil = case
    config = json.loads(json.dumps(files.configured(kind)))
    w = getattr(files, kind)()
    spoil(config, w)
    with pytest.raises(DictionaryError, match="Expected") as caught:
        registry.family(kind).build(content(w, config, at="0"), device="cpu", dtype=None)
    assert said in str(caught.value)
