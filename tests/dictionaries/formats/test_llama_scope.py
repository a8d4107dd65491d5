"""Llama Scope and its library's later files: the factors of training are folded or refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.dictionaries.formats import llama_scope
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.prove import prove
from pytest_sae.errors import DictionaryError
from tests.dictionaries.contents import behaves, content, largest, random, tokens, unit

D_IN, D_SAE, K = 12, 48, 6
IN, OUT = 9.5, 4.25
SITE = "blocks.3.hook_resid_post"
FIRST = {
    "d_model": D_IN,
    "d_sae": D_SAE,
    "hook_point_in": SITE,
    "hook_point_out": SITE,
    "act_fn": "jumprelu",
    "jump_relu_threshold": 0.4,
    "norm_activation": "dataset-wise",
    "dataset_average_activation_norm": {"in": IN, "out": IN},
    "use_decoder_bias": True,
    "apply_decoder_bias_to_pre_encoder": False,
    "sparsity_include_decoder_norm": True,
    "use_glu_encoder": False,
    "top_k": 50,
}
LATER = {
    "sae_type": "sae",
    "d_model": D_IN,
    "expansion_factor": D_SAE / D_IN,
    "hook_point_in": SITE,
    "hook_point_out": "blocks.3.hook_mlp_out",
    "act_fn": "jumprelu",
    "norm_activation": "dataset-wise",
    "sparsity_include_decoder_norm": True,
    "use_glu_encoder": False,
    "top_k": K,
}


def first_weights(**config: Any) -> dict[str, Tensor]:
    w = {
        "encoder.weight": random(D_SAE, D_IN, seed=1),
        "encoder.bias": random(D_SAE, seed=2, scale=0.1),
        "decoder.weight": (random(D_SAE, 1, seed=9).abs() + 0.2).T * unit(D_SAE, D_IN, seed=3).T,
        "decoder.bias": random(D_IN, seed=4),
    }
    if config.get("use_glu_encoder"):
        w["encoder_glu.weight"] = random(D_SAE, D_IN, seed=5)
        w["encoder_glu.bias"] = random(D_SAE, seed=6)
    return w


def later_weights(**config: Any) -> dict[str, Tensor]:
    first = first_weights(**config)
    w = {
        "W_E": first["encoder.weight"].T.contiguous(),
        "b_E": first["encoder.bias"],
        "W_D": first["decoder.weight"].T.contiguous(),
        "b_D": first["decoder.bias"],
        f"dataset_average_activation_norm.{SITE}": torch.tensor(IN),
        "dataset_average_activation_norm.blocks.3.hook_mlp_out": torch.tensor(OUT),
    }
    if config.get("use_glu_encoder"):
        w["W_E_glu"] = first["encoder_glu.weight"].T.contiguous()
        w["b_E_glu"] = first["encoder_glu.bias"]
    if {**LATER, **config}["act_fn"] == "jumprelu":
        w["activation_function.log_jumprelu_threshold"] = random(D_SAE, seed=8, scale=0.3)
    return w


def build(what: Any) -> Dictionary:
    assert llama_scope.recognise(what)
    return llama_scope.build(what, device="cpu", dtype=None)


def as_trained(w: dict[str, Tensor], config: dict[str, Any], x: Tensor) -> tuple[Tensor, Tensor]:
    """Latents in the scale of training, and the reconstruction in the model's own."""
    fold = config["norm_activation"] == "dataset-wise"
    s, t = (math.sqrt(D_IN) / norm if fold else 1.0 for norm in (IN, OUT))
    entered = s * x - (w["b_D"] if config.get("apply_decoder_bias_to_pre_encoder") else 0)
    before = entered @ w["W_E"] + w["b_E"]
    if "W_E_glu" in w:
        before = before * torch.sigmoid(entered @ w["W_E_glu"] + w["b_E_glu"])
    norm = w["W_D"].norm(dim=1) if config["sparsity_include_decoder_norm"] else torch.ones(D_SAE)
    score = before * norm
    if config["act_fn"] == "jumprelu":
        score = score * (score > w["activation_function.log_jumprelu_threshold"].exp())
    elif config["act_fn"] == "topk":
        score = largest(score.clamp(min=0), K)
    z = score.clamp(min=0) / norm
    return z, (z @ w["W_D"] + w["b_D"]) / t


VARIANTS = [
    {},
    {"act_fn": "topk"},
    {"act_fn": "relu"},
    {"sparsity_include_decoder_norm": False},
    {"act_fn": "topk", "sparsity_include_decoder_norm": False},
    {"use_glu_encoder": True},
    {"apply_decoder_bias_to_pre_encoder": True, "use_glu_encoder": True},
    {"norm_activation": "inference"},
]


@pytest.mark.parametrize("change", VARIANTS, ids=str)
def test_a_later_file_computes_what_was_trained(change: dict[str, Any]) -> None:
    config, w, x = {**LATER, **change}, later_weights(**change), tokens(d_in=D_IN)
    dictionary = build(content(w, config))
    z, reconstructed = as_trained(w, config, x)
    fold = config["norm_activation"] == "dataset-wise"
    s, t = (math.sqrt(D_IN) / norm if fold else 1.0 for norm in (IN, OUT))
    behaves(dictionary, x, z / s, w["W_D"] * s / t, w["b_D"] / t)
    torch.testing.assert_close(dictionary.reconstruct(x), reconstructed, rtol=1e-5, atol=1e-5)
    assert dictionary.info.k == (K if config["act_fn"] == "topk" else None)
    assert dictionary.info.hook_in == SITE
    assert dictionary.info.hook_out == "blocks.3.hook_mlp_out"


@pytest.mark.parametrize("glu", [False, True])
def test_llama_scope_is_what_its_library_makes_of_it_for_inference(glu: bool) -> None:
    # Its steps: fold the factors, give decoder rows norm 1, then the threshold in that scale.
    w, x = first_weights(use_glu_encoder=glu), tokens(d_in=D_IN)
    dictionary = build(content(w, {**FIRST, "use_glu_encoder": glu}))
    s = math.sqrt(D_IN) / IN
    norm = w["decoder.weight"].norm(dim=0)
    before = x @ w["encoder.weight"].T + w["encoder.bias"] / s
    if glu:
        before *= torch.sigmoid(s * x @ w["encoder_glu.weight"].T + w["encoder_glu.bias"])
    score = before * norm
    z = score * (score > 0.4)
    behaves(dictionary, x, z, w["decoder.weight"].T / norm[:, None], w["decoder.bias"] / s)


def test_llama_scope_is_what_sae_lens_computes_where_rows_have_norm_one(tmp_path: Path) -> None:
    # sae_lens knows no other rows, and keeps latents in the scale of training.
    from sae_lens.loading import pretrained_sae_loaders as loaders
    from sae_lens.saes.sae import SAE

    directory, w = tmp_path / "L3R", first_weights()
    w["decoder.weight"] = unit(D_SAE, D_IN, seed=3).T.contiguous()
    (directory / "checkpoints").mkdir(parents=True)
    save_file(w, directory / "checkpoints" / "final.safetensors")
    (directory / "hyperparams.json").write_text(json.dumps(FIRST))

    def local(*args: Any, **kwargs: Any) -> str:
        name = args[1] if len(args) > 1 else f"{kwargs.get('subfolder')}/{kwargs['filename']}"
        return str(tmp_path / name)

    download, loaders.hf_hub_download = loaders.hf_hub_download, local
    try:
        config, state, _ = loaders.llama_scope_sae_huggingface_loader(
            "repo", "L3R", cfg_overrides={"dtype": "float32"}
        )
    finally:
        loaders.hf_hub_download = download
    sae = SAE.from_dict(loaders.handle_pre_6_0_config(config))
    sae.load_state_dict(state)
    s = math.sqrt(D_IN) / IN
    sae.fold_activation_norm_scaling_factor(s)
    dictionary, x = load(directory), tokens(d_in=D_IN)
    with torch.no_grad():
        torch.testing.assert_close(dictionary.encode(x), sae.encode(x) / s)
        torch.testing.assert_close(dictionary.reconstruct(x), sae(x))
    assert dictionary.info.hook_in == dictionary.info.hook_out == SITE


def test_files_between_the_generations_keep_the_scale_of_their_thresholds() -> None:
    # The names of the first, with thresholds of the later ones, in the scale of training.
    w, x = later_weights(), tokens(d_in=D_IN)
    log_threshold = w["activation_function.log_jumprelu_threshold"]
    norms = {SITE: IN, "blocks.3.hook_mlp_out": OUT}
    between = build(
        content(
            first_weights() | {"log_jumprelu_threshold": log_threshold},
            {**LATER, "dataset_average_activation_norm": norms},
        )
    )
    expected = build(content(w, LATER))
    torch.testing.assert_close(between.encode(x), expected.encode(x))
    torch.testing.assert_close(between.reconstruct(x), expected.reconstruct(x))


@pytest.mark.parametrize(
    ("where", "config", "settings"),
    [
        ("the configuration by side", {"in": IN, "out": OUT}, {}),
        ("the configuration by hook", {SITE: IN, "blocks.3.hook_mlp_out": OUT}, {}),
        ("the user", None, {"norm_in": str(IN), "norm_out": str(OUT)}),
    ],
)
def test_the_mean_norms_may_come_from(
    where: str, config: dict[str, float] | None, settings: dict[str, str]
) -> None:
    w, x = later_weights(), tokens(d_in=D_IN)
    expected = build(content(w, LATER)).reconstruct(x)
    w = {name: t for name, t in w.items() if not name.startswith("dataset_")}
    given = {**LATER, "dataset_average_activation_norm": config} if config else LATER
    torch.testing.assert_close(build(content(w, given, **settings)).reconstruct(x), expected)


@pytest.mark.parametrize("act_fn", ["relu", "jumprelu", "topk"])
@pytest.mark.parametrize("glu", [False, True])
def test_a_token_may_be_scaled_to_one_norm_by_itself(act_fn: str, glu: bool) -> None:
    w = later_weights(use_glu_encoder=glu)
    if act_fn != "jumprelu":
        del w["activation_function.log_jumprelu_threshold"]
    config = {**LATER, "hook_point_out": SITE, "act_fn": act_fn, "use_glu_encoder": glu}
    inner = build(content(w, {**config, "norm_activation": "inference"}))
    ours, x = build(content(w, {**config, "norm_activation": "token-wise"})), tokens(d_in=D_IN)
    for token in x:
        scale = math.sqrt(D_IN) / math.sqrt(sum(float(each) ** 2 for each in token))
        entered = (token * scale)[None]
        torch.testing.assert_close(ours.encode(token[None]), inner.encode(entered))
        y = inner.reconstruct(entered) / scale
        torch.testing.assert_close(ours.reconstruct(token[None]), y)
    prove(ours)
    assert ours.fingerprint != inner.fingerprint
    assert ours.decoder_rows is None


def test_a_decoder_without_bias_reconstructs_without() -> None:
    config, w = {**LATER, "use_decoder_bias": False}, later_weights()
    del w["b_D"]
    assert not build(content(w, config)).const(tokens(d_in=D_IN)).any()


def test_a_decoder_row_of_zeros_is_a_dead_latent() -> None:
    w = first_weights()
    w["decoder.weight"][:, 5] = 0
    dictionary = build(content(w, FIRST))
    assert dictionary.reconstruct(tokens(d_in=D_IN)).isfinite().all()
    assert not dictionary.encode(tokens(d_in=D_IN))[:, 5].any()


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"dataset_average_activation_norm": None}, r"gives None as .* set norm_in="),
    ({"dataset_average_activation_norm": {"in": 0.0}}, r"gives 0.0 as .* \(in\)"),
    ({"dataset_average_activation_norm": {"in": "wide"}}, r"gives 'wide'"),
    ({"dataset_average_activation_norm": {"in": float("nan")}}, r"gives nan"),
    (
        {"norm_activation": "token-wise", "hook_point_out": "blocks.3.hook_mlp_out"},
        r"'token-wise', and writes another site than it reads: .* by the norm of what was to be",
    ),
    ({"norm_activation": "batch-wise"}, r"the batch .*norm_activation = 'dataset-wise' with"),
    ({"norm_activation": "z-score"}, r"'z-score', which is no normalisation that is known"),
    ({"act_fn": "batchtopk"}, r"act_fn = 'batchtopk', whose latents depend on the other tokens"),
    ({"act_fn": "topk", "top_k": D_SAE + 1}, r"top_k = 49. Expected a whole number from 1 to 48"),
    ({"act_fn": "topk", "top_k": None}, r"top_k = None"),
    ({"jump_relu_threshold": None}, r"jump_relu_threshold = None, and has no log_jumprelu"),
    ({"jump_relu_threshold": -1.0}, r"thresholds below 0"),
    ({"sae_type": "lorsa"}, r"of the type 'lorsa'. Expected an SAE, a transcoder"),
    ({"sae_type": "lorsa"}, r"of the type 'lorsa'"),
    ({"sparsity_include_decoder_norm": 1}, r"Expected true or false"),
    ({"d_sae": 47}, r"W_D has the shape \(48, 12\). Expected \(47, 12\)"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=str)
def test_what_cannot_be_reproduced_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DictionaryError, match=message):
        build(content(first_weights(), {**FIRST, **change}))


def turned(name: str) -> Callable[[dict[str, Tensor]], None]:
    return lambda w: w.update({name: w[name].T.contiguous()})


SPOILED: list[tuple[Callable[[dict[str, Tensor]], object], str]] = [
    (turned("decoder.weight"), r"W_D has the shape \(12, 48\). Expected \(48, 12\)"),
    (turned("encoder.weight"), r"W_E has the shape \(48, 12\). Expected \(12, 48\)"),
    (lambda w: w["encoder.bias"].fill_(torch.inf), r"b_E \(0 NaN, 48 Inf of 48\)"),
    (lambda w: w["decoder.weight"].zero_(), "all 48 decoder rows are zero"),
    (lambda w: w.pop("decoder.bias"), "missing b_D"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILED)
def test_spoiled_weights_are_refused(
    spoil: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    w = first_weights()
    spoil(w)
    with pytest.raises(DictionaryError, match=message):
        build(content(w, FIRST))


def test_norms_that_were_never_estimated_are_refused() -> None:
    # They are saved as uninitialised memory.
    w = later_weights()
    w[f"dataset_average_activation_norm.{SITE}"] = torch.tensor(1e-41)
    with pytest.raises(DictionaryError, match=r"set norm_in="):
        build(content(w, LATER))


def test_a_transposed_square_decoder_is_noticed_by_its_content() -> None:
    reads = random(24, 24, seed=1)
    w = {"W_E": reads.T.contiguous(), "b_E": random(24), "b_D": random(24)}
    w["W_D"] = reads + 0.5 * random(24, 24, seed=2)
    config = {**LATER, "d_model": 24, "expansion_factor": 1, "norm_activation": "inference"}
    config |= {"hook_point_out": SITE, "act_fn": "relu"}
    build(content(w, config))
    w["W_D"] = w["W_D"].T.contiguous()
    with pytest.raises(DictionaryError, match="only when it is transposed"):
        build(content(w, config))
