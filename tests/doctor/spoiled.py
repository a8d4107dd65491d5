"""Trained SAEs with one thing wrong: for each, what is wrong is known, for it was done here."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Tensors = dict[str, Tensor]
Config = dict[str, Any]
Spoil = Callable[[Tensors, Config], tuple[Tensors, Config]]


def spoiled(source: Path, target: Path, spoil: Spoil) -> Path:
    """Write a copy of a sae_lens SAE with something done to it, and return its directory."""
    tensors, config = spoil(*whole(source))
    target.mkdir(parents=True)
    kept = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(kept, target / "sae_weights.safetensors")
    (target / "cfg.json").write_text(json.dumps(config))
    return target


def whole(source: Path) -> tuple[Tensors, Config]:
    """The tensors and the configuration of a sae_lens SAE."""
    config = json.loads((source / "cfg.json").read_text())
    return load_file(source / "sae_weights.safetensors"), config


def with_metadata(config: Config, **metadata: object) -> Config:
    changed = deepcopy(config)
    changed["metadata"] |= metadata
    return changed


def at(hook: str) -> Spoil:
    return lambda tensors, config: (tensors, with_metadata(config, hook_name=hook))


def on(model: str) -> Spoil:
    return lambda tensors, config: (tensors, with_metadata(config, model_name=model))


def without_bos(tensors: Tensors, config: Config) -> tuple[Tensors, Config]:
    return tensors, with_metadata(config, prepend_bos=False)


def as_trained_on(factor: float) -> Spoil:
    """The weights of the same SAE, had its activations been multiplied by a factor."""

    def spoil(tensors: Tensors, config: Config) -> tuple[Tensors, Config]:
        powers = {"W_enc": 1 / factor, "W_dec": factor, "b_dec": factor}
        return {n: t * powers.get(n, 1.0) for n, t in tensors.items()}, config

    return spoil


def times(name: str, factor: float) -> Spoil:
    return lambda tensors, config: ({**tensors, name: tensors[name] * factor}, config)


def transposed(*names: str) -> Spoil:
    return lambda tensors, config: (
        {n: t.T if n in names else t for n, t in tensors.items()},
        config,
    )


def permuted(tensors: Tensors, config: Config) -> tuple[Tensors, Config]:
    rows = tensors["W_dec"]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    return {**tensors, "W_dec": rows[order]}, config


def mislabelled_bits(tensors: Tensors, config: Config) -> tuple[Tensors, Config]:
    """Saved as the bits of bfloat16, and read as float16."""
    return {n: t.to(torch.bfloat16).view(torch.float16) for n, t in tensors.items()}, config


def thresholdless(tensors: Tensors, config: Config) -> tuple[Tensors, Config]:
    return {**tensors, "threshold": torch.zeros_like(tensors["threshold"])}, config
