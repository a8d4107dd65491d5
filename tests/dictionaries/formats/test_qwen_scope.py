"""Qwen Scope's layers compute what sae_lens' loader of them computes, and say where they belong."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import DictionaryError
from tests.dictionaries.contents import CLOSE, behaves, random, tokens, unit
from tests.dictionaries.hub.hub_cache_files import cache

D, M, K = 12, 48, 5
REPOSITORY = f"SAE-Res-Qwen3-1.7B-Base-W32K-L0_{K}"


def weights() -> dict[str, Tensor]:
    return {
        "W_enc": random(M, D, seed=1),
        "b_enc": random(M, seed=2, scale=0.1),
        "W_dec": unit(M, D, seed=3).T.contiguous(),
        "b_dec": random(D, seed=4, scale=0.3),
    }


def write(directory: Path, w: dict[str, Tensor] | None = None) -> Path:
    directory.mkdir(parents=True)
    torch.save(w or weights(), directory / "layer7.sae.pt")
    return directory / "layer7.sae.pt"


def test_it_keeps_the_largest_and_subtracts_nothing(tmp_path: Path) -> None:
    w, x = weights(), tokens(d_in=D)
    before = x @ w["W_enc"].T + w["b_enc"]
    least = before.topk(K, dim=1).values[:, -1:]
    z = before * (before >= least)
    behaves(load(write(tmp_path / REPOSITORY)), x, z, w["W_dec"].T, w["b_dec"])


def test_it_computes_what_sae_lens_computes_of_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, x = write(tmp_path / REPOSITORY), tokens(d_in=D)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_lens import TopKSAE, TopKSAEConfig
        from sae_lens.loading import pretrained_sae_loaders as theirs
    monkeypatch.setattr(theirs, "hf_hub_download", lambda **_: str(path))
    config, state, _ = theirs.qwen_scope_sae_huggingface_loader(f"Qwen/{REPOSITORY}", path.name)
    about = {name: config[name] for name in ("apply_b_dec_to_input", "normalize_activations")}
    sae = TopKSAE(TopKSAEConfig(d_in=D, d_sae=M, k=config["activation_fn_kwargs"]["k"], **about))
    sae.load_state_dict(state)
    ours = load(path)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(x), sae.encode(x), **CLOSE)
        torch.testing.assert_close(ours.reconstruct(x), sae(x), **CLOSE)
    assert (ours.info.model, ours.info.hook_in) == (config["model_name"], config["hook_name"])


def test_on_the_hub_the_repository_says_model_and_k(tmp_path: Path, home: Path) -> None:
    content = write(tmp_path / "made").read_bytes()
    cache(home, f"Qwen/{REPOSITORY}", {"layer7.sae.pt": content, "README.md": b"# Qwen"})
    (spec,) = resolve([f"hf:Qwen/{REPOSITORY}/layer*.sae.pt"])
    info = load(spec.path).info
    assert (info.model, info.hook_in, info.k, info.family) == (
        "Qwen/Qwen3-1.7B-Base",
        "blocks.7.hook_resid_post",
        K,
        "qwen_scope.topk",
    )


def test_a_file_that_was_moved_asks_for_what_its_directory_said(tmp_path: Path) -> None:
    path = write(tmp_path / "saes")
    with pytest.raises(DictionaryError, match="Expected that: say") as caught:
        load(path)
    assert f"--sae=qwen_scope,k=50,model=Qwen/MODEL:{path}" in str(caught.value)
    found = load(path, settings=[("k", str(K)), ("model", "Qwen/Qwen3-8B-Base")])
    assert torch.equal(
        found.encode(tokens(d_in=D)), load(write(tmp_path / REPOSITORY)).encode(tokens(d_in=D))
    )


@pytest.mark.parametrize("repository", ["SAE-Res-Q-W32K-L0_0", f"SAE-Res-Q-W32K-L0_{M + 1}"])
def test_a_k_that_no_token_can_have_is_refused(repository: str, tmp_path: Path) -> None:
    with pytest.raises(DictionaryError, match="how many latents"):
        load(write(tmp_path / repository))


def test_a_decoder_that_lies_the_other_way_is_refused(tmp_path: Path) -> None:
    w = weights()
    w["W_dec"] = w["W_dec"].T.contiguous()
    with pytest.raises(DictionaryError, match="W_dec has the shape"):
        load(write(tmp_path / REPOSITORY, w))
