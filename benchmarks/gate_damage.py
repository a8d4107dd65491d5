"""Damaged copies of the bundled dictionaries, each with one thing wrong, for gate_simulation.py."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fixtures import WORLD, dictionaries, language_model

SAES = WORLD / "saes"
HALF = dictionaries.STEPS // 2
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Variant:
    """A dictionary of the simulation.

    Args:
        name: of its directory.
        told: what it is, for people.
        of: the dictionary that its baseline is of, empty if it is one itself.
        damaged: whether it is worse than that.
    """

    name: str
    told: str
    of: str = ""
    damaged: bool = True


VARIANTS = (
    Variant("topk", "TopK, as bundled", damaged=False),
    Variant("batchtopk", "BatchTopK, as bundled", damaged=False),
    Variant("dropped-05", "5 % of the latents dropped", "topk"),
    Variant("dropped-20", "20 % of the latents dropped", "topk"),
    Variant("noise-10", "decoder rows with 10 % noise", "topk"),
    Variant("noise-30", "decoder rows with 30 % noise", "topk"),
    Variant("stopped", "training stopped half way", "topk"),
    Variant("half", "trained with half as many steps", "topk"),
    Variant("threshold", "thresholds raised by a half", "batchtopk"),
    Variant("site", "read two layers off (a run would call it incomparable: another site)", "topk"),
    Variant("seed-8", "trained again, seed 8", "topk", damaged=False),
    Variant("seed-9", "trained again, seed 9", "topk", damaged=False),
)


def make(name: str, work: Path) -> Path:
    """Return the directory of a variant, made where it is not there yet."""
    folder = work / "saes" / name
    if (SAES / name).is_dir():
        return SAES / name
    if not folder.is_dir():
        if name in _TRAINED:
            _train(work)
        else:
            _spoil(name, folder)
    return folder


def _spoil(name: str, folder: Path) -> None:
    source = SAES / ("batchtopk" if name == "threshold" else "topk")
    shutil.copytree(source, folder)
    if name == "site":
        path = folder / "cfg.json"
        path.write_text(path.read_text().replace("blocks.2.", "blocks.4.").replace(
            "model.layers.2", "model.layers.4"))  # fmt: skip
        return
    file = folder / "sae_weights.safetensors"
    weights = load_file(file)
    _SPOILERS[name](weights)
    save_file(weights, file)


def _drop(weights: Weights, share: float) -> None:
    latents = len(weights["W_dec"])
    chosen = torch.randperm(latents, generator=_generator())[: round(share * latents)]
    weights["W_enc"][:, chosen] = 0
    weights["b_enc"][chosen] = 0


def _blur(weights: Weights, share: float) -> None:
    rows = weights["W_dec"]
    noise = torch.nn.functional.normalize(torch.randn(rows.shape, generator=_generator()))
    weights["W_dec"] = rows + share * rows.norm(dim=1, keepdim=True) * noise


def _raise(weights: Weights) -> None:
    weights["threshold"] *= 1.5


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


_SPOILERS: Mapping[str, Callable[[Weights], None]] = {
    "dropped-05": lambda weights: _drop(weights, 0.05),
    "dropped-20": lambda weights: _drop(weights, 0.20),
    "noise-10": lambda weights: _blur(weights, 0.1),
    "noise-30": lambda weights: _blur(weights, 0.3),
    "threshold": _raise,
}
# Steps, seed, and the share of the steps after which a copy under the name is kept.
_TRAINED = {
    "stopped": (dictionaries.STEPS, dictionaries.SEED, 0.5),
    "half": (HALF, dictionaries.SEED, 1.0),
    "seed-8": (dictionaries.STEPS, 8, 1.0),
    "seed-9": (dictionaries.STEPS, 9, 1.0),
}


def _train(work: Path) -> None:
    """Train what has to be trained, all on the same activations as the bundled ones."""
    x = dictionaries.training_activations(*language_model.load(WORLD / "model"))
    for name, (steps, seed, share) in _TRAINED.items():
        scratch = work / "training" / name
        kept = {name: share} if share < 1 else {}
        dictionaries.train("topk", x, scratch, steps, seed, kept)
        shutil.copytree(scratch / (name if kept else "topk"), work / "saes" / name)
