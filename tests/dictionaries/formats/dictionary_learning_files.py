"""Tiny files of the dictionary_learning library, and what each class computes, written out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

D, M, K, THRESHOLD = 16, 40, 4, 0.7
GROUPS = (6, 10, 24)
LINEAR = {"encoder.weight": (M, D), "encoder.bias": (M,), "decoder.weight": (D, M)}
PLAIN = {"W_enc": (D, M), "b_enc": (M,), "W_dec": (M, D), "b_dec": (D,)}
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "AutoEncoder": {**LINEAR, "bias": (D,)},
    "AutoEncoderNew": {**LINEAR, "decoder.bias": (D,)},
    "GatedAutoEncoder": {
        "encoder.weight": (M, D),
        "decoder.weight": (D, M),
        "decoder_bias": (D,),
        "r_mag": (M,),
        "gate_bias": (M,),
        "mag_bias": (M,),
    },
    "JumpReluAutoEncoder": {**PLAIN, "threshold": (M,)},
    "AutoEncoderTopK": {**LINEAR, "b_dec": (D,)},
    "BatchTopKSAE": {**LINEAR, "b_dec": (D,)},
    "MatryoshkaBatchTopKSAE": dict(PLAIN),
}


def state_dict(kind: str, seed: int = 0) -> dict[str, Tensor]:
    """Random tensors of a class, with its buffers."""
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: 0.4 * torch.randn(shape, generator=generator) for name, shape in SHAPES[kind].items()
    }
    if kind == "JumpReluAutoEncoder":
        state["threshold"].abs_()
    if "TopK" in kind:
        state["k"] = torch.tensor(K, dtype=torch.int)
        # The per-token class never sets its threshold, and never uses it.
        state["threshold"] = torch.tensor(-1.0 if kind == "AutoEncoderTopK" else THRESHOLD)
    if kind.startswith("Matryoshka"):
        state["group_sizes"] = torch.tensor(GROUPS)
    return state


def write(
    directory: Path,
    kind: str,
    state: dict[str, Tensor] | None = None,
    **trainer: Any,
) -> Path:
    """Write ae.pt and config.json, and return the directory."""
    directory.mkdir(exist_ok=True, parents=True)
    torch.save(state_dict(kind) if state is None else state, directory / "ae.pt")
    trainer = {
        "dict_class": kind,
        "lm_name": "EleutherAI/pythia-70m-deduped",
        "layer": 3,
        "submodule_name": "resid_post_layer_3",
        **({"k": K} if "TopK" in kind else {}),
        **trainer,
    }
    config = {"trainer": trainer, "buffer": {"ctx_len": 128, "d_submodule": D}}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def explicit(kind: str, w: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Codes and reconstruction of each class, from reference/dictionaries.md section 2."""
    if kind == "GatedAutoEncoder":
        read = (x - w["decoder_bias"]) @ w["encoder.weight"].T
        size = (read * w["r_mag"].exp() + w["mag_bias"]).clamp(min=0)
        z = size * (read + w["gate_bias"] > 0)
        return z, z @ w["decoder.weight"].T + w["decoder_bias"]
    if "W_enc" in w:
        centred = x if kind == "JumpReluAutoEncoder" else x - w["b_dec"]
        pre = (centred @ w["W_enc"] + w["b_enc"]).clamp(min=0)
        z = pre * (pre > w["threshold"])
        return z, z @ w["W_dec"] + w["b_dec"]
    after = next(w[n] for n in ("bias", "decoder.bias", "b_dec") if n in w)
    centred = x if kind == "AutoEncoderNew" else x - after
    z = (centred @ w["encoder.weight"].T + w["encoder.bias"]).clamp(min=0)
    if kind == "AutoEncoderTopK":
        z = z * (z >= z.sort(dim=1, descending=True).values[:, K - 1 : K])
    if kind == "BatchTopKSAE":
        z = z * (z > w["threshold"])
    return z, z @ w["decoder.weight"].T + after


def tokens(count: int = 60) -> Tensor:
    """Activations with a mean."""
    return torch.randn(count, D, generator=torch.Generator().manual_seed(5)) * 1.5 + 0.3
