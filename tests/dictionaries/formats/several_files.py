"""Tiny crosscoders and cross-layer transcoders, and what they compute, token by token."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.dictionaries.contents import random

SITES, D, M, K = 3, 12, 20, 4
HOOKS = [f"blocks.{layer}.hook_resid_post" for layer in range(SITES)]
READS = [f"blocks.{layer}.ln2.hook_out" for layer in range(SITES)]
WRITES = [f"blocks.{layer}.hook_mlp_out" for layer in range(SITES)]
NORM = "dataset_average_activation_norm"


def norms(hooks: Sequence[str]) -> dict[str, float]:
    """A mean norm for each hook, none like another."""
    return {hook: 2.5 + 1.7 * place for place, hook in enumerate(hooks)}


def configured(kind: str, d: int = D, **changes: Any) -> dict[str, Any]:
    """The configuration of a `crosscoder` or `clt`."""
    hooks = {"crosscoder": {"hook_points": HOOKS}}.get(
        kind, {"hook_points_in": READS, "hook_points_out": WRITES}
    )
    config = {
        "sae_type": kind,
        "d_model": d,
        "expansion_factor": M / d,
        "act_fn": "jumprelu",
        "norm_activation": "dataset-wise",
        "sparsity_include_decoder_norm": True,
        "top_k": K,
        **hooks,
        **changes,
    }
    named = [hook for name, each in config.items() if name.startswith("hook_") for hook in each]
    return {**config, NORM: norms(named)}


def crosscoder(d: int = D, act_fn: str = "jumprelu", **_: Any) -> dict[str, Tensor]:
    """Random weights of a crosscoder."""
    w = {
        "W_E": random(SITES, d, M, seed=1),
        "b_E": random(SITES, M, seed=2, scale=0.2),
        "W_D": random(SITES, M, d, seed=3, scale=0.4),
        "b_D": random(SITES, d, seed=4),
    }
    w["W_D"][1, 3] = 0  # a latent that writes to other sites alone
    if act_fn == "jumprelu":
        w["activation_function.log_jumprelu_threshold"] = random(M, seed=5, scale=0.3)
    return w


def clt(d: int = D, act_fn: str = "jumprelu", **_: Any) -> dict[str, Tensor]:
    """Random weights of a cross-layer transcoder."""
    w = {"W_E": random(SITES, d, M, seed=1), "b_E": random(SITES, M, seed=2, scale=0.2)}
    for layer in range(SITES):
        w[f"W_D.{layer}"] = random(layer + 1, M, d, seed=10 + layer, scale=0.3)
        w[f"b_D.{layer}"] = random(d, seed=20 + layer)
    if act_fn == "jumprelu":
        w["activation_function.log_jumprelu_threshold"] = random(SITES, M, seed=5, scale=0.3)
    return w


def write(directory: Path, kind: str, d: int = D, **changes: Any) -> Path:
    """Write the files and return the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    config = configured(kind, d, **changes)
    weights = {"crosscoder": crosscoder, "clt": clt}[kind](d, **changes)
    save_file(weights, directory / "sae_weights.safetensors")
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def explicit(
    kind: str, config: dict[str, Any], w: dict[str, Tensor], at: int, x: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Latents and reconstruction at a site, one token, layer and latent after the other.

    Args:
        kind: `crosscoder` or `clt`.
        config: its configuration.
        w: its weights.
        at: the written site.
        x: (token, d) of each site that it reads, in the model's own scale.
    """
    codes = {"crosscoder": _crosscoder_token, "clt": _clt_token}[kind]
    found = [codes(config, w, at, [site[token] for site in x]) for token in range(len(x[0]))]
    return torch.stack([z for z, _ in found]), torch.stack([y for _, y in found])


def _scale(config: dict[str, Any], hook: str, x: Tensor) -> float:
    if config["norm_activation"] == "token-wise":
        return math.sqrt(config["d_model"]) / math.sqrt(sum(float(each) ** 2 for each in x))
    folded = config["norm_activation"] == "inference"
    return 1.0 if folded else math.sqrt(config["d_model"]) / config[NORM][hook]


def _selected(config: dict[str, Any], sized: list[float], threshold: Tensor | None) -> list[bool]:
    if threshold is not None:
        return [size > limit for size, limit in zip(sized, threshold.exp().tolist(), strict=True)]
    if config["act_fn"] == "relu":
        return [size > 0 for size in sized]
    least = sorted(sized)[-config["top_k"]]
    return [size >= max(least, 1e-30) for size in sized]


def _threshold(w: dict[str, Tensor]) -> Tensor | None:
    return w.get("activation_function.log_jumprelu_threshold")


def _crosscoder_token(
    config: dict[str, Any], w: dict[str, Tensor], at: int, x: list[Tensor]
) -> tuple[Tensor, Tensor]:
    scales = [_scale(config, hook, x[i]) for i, hook in enumerate(config["hook_points"])]
    entered = [scale * each for scale, each in zip(scales, x, strict=True)]
    before = [
        sum(float(entered[i] @ w["W_E"][i, :, j] + w["b_E"][i, j]) for i in range(SITES))
        for j in range(M)
    ]
    sized = [size * float(w["W_D"][at, j].norm()) for j, size in enumerate(before)]
    active = _selected(config, sized, _threshold(w))
    z = torch.tensor([size if on else 0.0 for size, on in zip(before, active, strict=True)])
    y = w["b_D"][at] + sum(z[j] * w["W_D"][at, j] for j in range(M))
    return z, y / scales[at]


def _clt_token(
    config: dict[str, Any], w: dict[str, Tensor], at: int, x: list[Tensor]
) -> tuple[Tensor, Tensor]:
    every, y, threshold = [], w[f"b_D.{at}"].clone(), _threshold(w)
    for layer in range(at + 1):
        entered = _scale(config, config["hook_points_in"][layer], x[layer]) * x[layer]
        before = [float(entered @ w["W_E"][layer, :, j] + w["b_E"][layer, j]) for j in range(M)]
        sized = list(before)
        if config["sparsity_include_decoder_norm"]:
            for j in range(M):
                written = [w[f"W_D.{to}"][layer, j] for to in range(layer, SITES)]
                sized[j] *= float(torch.cat(written).norm())
        limit = None if threshold is None else threshold[layer]
        active = _selected(config, sized, limit)
        z = torch.tensor([size if on else 0.0 for size, on in zip(before, active, strict=True)])
        y += sum(z[j] * w[f"W_D.{at}"][layer, j] for j in range(M))
        every.append(z)
    return torch.cat(every), y / _scale(config, config["hook_points_out"][at], x[at])
