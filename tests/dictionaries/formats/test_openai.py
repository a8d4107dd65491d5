"""OpenAI's autoencoders: a TopK of layer-normalised tokens, whose latents write by the std."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.preflight import require_site
from pytest_sae.errors import DictionaryError
from tests.dictionaries.contents import behaves

D, M, K = 16, 40, 5


def state_dict(activation: str = "TopK", **more: Any) -> dict[str, Any]:
    """What its Autoencoder.state_dict() returns, statistics and all."""
    generator = torch.Generator().manual_seed(3)
    state: dict[str, Any] = OrderedDict(
        pre_bias=torch.randn(D, generator=generator) * 0.2,
        latent_bias=torch.randn(M, generator=generator) * 0.2,
        stats_last_nonzero=torch.zeros(M, dtype=torch.long),
        latents_activation_frequency=torch.ones(M),
        latents_mean_square=torch.zeros(M),
    )
    state["encoder.weight"] = torch.randn(M, D, generator=generator)
    state["decoder.weight"] = torch.randn(D, M, generator=generator) * 0.5
    state["activation"] = activation
    if activation == "TopK":
        state["activation.k"], state["activation.postact_fn"] = K, "ReLU"
        state["activation_state_dict"] = OrderedDict(k=K, postact_fn="ReLU")
    return {**state, **more}


def write(tmp_path: Path, state: dict[str, Any]) -> Path:
    path = tmp_path / "autoencoder.pt"
    torch.save(state, path)
    return path


def tokens(count: int = 60) -> Tensor:
    scales = torch.linspace(0.2, 8, count)[:, None]
    return torch.randn(count, D, generator=torch.Generator().manual_seed(5)) * scales + 1.3


def normalised(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mean = x.mean(1, keepdim=True)
    std = (x - mean).std(1, keepdim=True)
    return (x - mean) / (std + 1e-5), mean, std


def explicit(state: dict[str, Any], x: Tensor) -> tuple[Tensor, Tensor]:
    """Codes and reconstruction of a TopK one, written out."""
    entered, mean, std = normalised(x)
    pre = (entered - state["pre_bias"]) @ state["encoder.weight"].T + state["latent_bias"]
    least = pre.sort(dim=1, descending=True).values[:, K - 1 : K]
    z = torch.where(pre >= least, pre, 0.0).clamp(min=0)
    decoder = state.get("decoder.weight", state["encoder.weight"].T)
    return z, (z @ decoder.T + state["pre_bias"]) * std + mean


def refusal(path: Path, **given: str) -> str:
    with pytest.raises(DictionaryError, match="Expected") as caught:
        load(path, settings=list(given.items()))
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("tied", ["no", "absent", "twin"])
def test_it_computes_its_formula_tied_or_not(tied: str, tmp_path: Path) -> None:
    state = state_dict()
    if tied != "no":
        state.pop("decoder.weight")
    if tied == "twin":
        state["decoder.linear.weight"] = state["encoder.weight"].clone()
    dictionary, x = load(write(tmp_path, state)), tokens()
    z, reconstructed = explicit(state, x)
    torch.testing.assert_close(dictionary.encode(x), z)
    torch.testing.assert_close(dictionary.reconstruct(x), reconstructed)
    assert dictionary.decoder_rows is None
    assert (dictionary.info.family, dictionary.info.k) == ("openai.topk", K)


def test_it_computes_what_sae_lens_computes_from_the_same_weights(tmp_path: Path) -> None:
    from sae_lens import TopKSAE, TopKSAEConfig

    state, x = state_dict(), tokens()
    theirs = TopKSAE(TopKSAEConfig(d_in=D, d_sae=M, k=K, normalize_activations="layer_norm"))
    theirs.load_state_dict(
        {
            "W_enc": state["encoder.weight"].T,
            "b_enc": state["latent_bias"],
            "W_dec": state["decoder.weight"].T,
            "b_dec": state["pre_bias"],
        }
    )
    ours = load(write(tmp_path, state))
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(x), theirs.encode(x))
        torch.testing.assert_close(ours.reconstruct(x), theirs(x))


def test_what_a_latent_writes_scales_with_the_std_of_its_token(tmp_path: Path) -> None:
    state, x = state_dict(), tokens()
    dictionary = load(write(tmp_path, state))
    z, latents = dictionary.encode(x), torch.tensor([2, 11, 30])
    _, mean, std = normalised(x)
    written = z[:, latents] @ state["decoder.weight"].T[latents] * std
    torch.testing.assert_close(dictionary.contribution(x, z, latents), written)
    torch.testing.assert_close(dictionary.const(x), state["pre_bias"] * std + mean)


@pytest.mark.parametrize("activation", ["ReLU", "Identity"])
def test_without_topk_nothing_is_normalised(activation: str, tmp_path: Path) -> None:
    state, x = state_dict(activation), tokens()
    z = (x - state["pre_bias"]) @ state["encoder.weight"].T + state["latent_bias"]
    z = z.clamp(min=0) if activation == "ReLU" else z
    dictionary = load(write(tmp_path, state))
    if activation == "ReLU":
        behaves(dictionary, x, z, state["decoder.weight"].T, state["pre_bias"])
    torch.testing.assert_close(dictionary.encode(x), z)
    assert dictionary.info.k is None


def test_a_selection_without_relu_keeps_negative_latents(tmp_path: Path) -> None:
    state = state_dict(activation_state_dict={"k": M, "postact_fn": "Identity"})
    assert (load(write(tmp_path, state)).encode(tokens()) < 0).any()


def test_a_missing_k_is_asked_for_and_a_stored_one_is_not_overruled(tmp_path: Path) -> None:
    path = write(tmp_path, state_dict(activation_state_dict={}))
    assert "k=..." in refusal(path)
    assert load(path, settings=[("k", str(K))]).info.k == K
    assert "stores k = 5 and is given k = 4" in refusal(write(tmp_path, state_dict()), k="4")


def test_the_site_is_asked_for_and_settings_say_it(tmp_path: Path) -> None:
    path = write(tmp_path, state_dict())
    with pytest.raises(DictionaryError, match=r"--sae=model=\.\.\.,site=\.\.\.:"):
        require_site(load(path).info)
    given = [("site", "blocks.8.hook_mlp_out"), ("model", "gpt2")]
    require_site(load(path, settings=given).info)
    assert "the setting 'sight'" in refusal(path, sight="x")
    assert "Did you mean 'site'?" in refusal(path, sight="x")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.update(activation="Tanh"), "'Tanh'"),
        (lambda s: s.update(activation=["TopK"]), "['TopK']"),
        (lambda s: s.update(activation_state_dict={"k": 0}), "k = 0"),
        (lambda s: s.update(activation_state_dict={"k": M + 1}), "from 1 to 40"),
        (lambda s: s.update(activation_state_dict={"k": 3, "postact_fn": "x"}), "postact_fn"),
        (lambda s: s.update(pre_bias=torch.ones(3)), "pre_bias has the shape"),
        (lambda s: s.update(more=torch.ones(3)), "unknown more"),
        (lambda s: s["decoder.weight"].zero_(), "decoder rows are zero"),
        (lambda s: s["pre_bias"].fill_(torch.inf), "16 Inf"),
        (lambda s: s.update({"encoder.weight": torch.ones(3)}), "encoder.weight"),
        (lambda s: s.update({"decoder.linear.weight": torch.ones(M, D)}), "differs"),
    ],
)
def test_spoiled_files_are_refused(
    change: Callable[[dict[str, Any]], object], named: str, tmp_path: Path
) -> None:
    state = state_dict()
    change(state)
    assert named in refusal(write(tmp_path, state))


odd = st.none() | st.booleans() | st.integers(-3, 50) | st.floats() | st.text(max_size=4)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(odd, st.dictionaries(st.sampled_from(["k", "postact_fn"]), odd))
def test_any_activation_loads_or_is_refused(
    tmp_path: Path, activation: object, inner: dict[str, object]
) -> None:
    for name in (activation, "TopK"):
        path = write(tmp_path, state_dict(activation=name, activation_state_dict=inner))
        with contextlib.suppress(DictionaryError):
            assert load(path).d_sae == M
