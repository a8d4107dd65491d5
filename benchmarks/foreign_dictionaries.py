"""Good, damaged and worthless dictionaries of one model, for foreign_worlds.py."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import sae_lens
import torch
from sae_lens.saes.sae import SAEMetadata
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.foreign_models import CONTEXT, activations
from fixtures import dictionaries
from fixtures.dictionaries import Make

log = logging.getLogger(__name__)

GOOD = ("topk", "batchtopk", "relu")
# Better than nothing, and not good: no bound is asked to take them for either.
DAMAGED = ("topk-010", "batchtopk-010", "permuted-003")
WORTHLESS = (
    "topk-001",
    "topk-002",
    "batchtopk-001",
    "batchtopk-002",
    "random",
    "random-tied",
    "random-tied-mean",
    "permuted",
    "wrong-layer",
    "wrong-model",
)
NAMES = (*GOOD, *DAMAGED, *WORTHLESS)
# As good as topk, from another seed: what gate_simulation.py must not call a regression.
AGAIN = "topk-again"
CHECKPOINTS = {"001": 0.01, "002": 0.02, "010": 0.10}
SEED = 21
WEIGHTS = "sae_weights.safetensors"


@dataclass(frozen=True)
class Recipes:
    """How the dictionaries of a world are made.

    Args:
        block: whose output they describe.
        other_block: whose output the one of the wrong layer is trained on.
        makes: shape and sparsity of each family; the random ones are made as topk, those of a wrong
            layer or model with as many latents as batchtopk.
        steps: of training.
        tokens: activations that are trained on.
    """

    block: int
    other_block: int
    makes: Mapping[str, Make]
    steps: int
    tokens: int


@dataclass(frozen=True)
class Workshop:
    """The dictionaries of one world while they are made.

    Args:
        folder: of the world, with `model` and `sibling` in it.
        texts: to train on.
        recipes: how.
    """

    folder: Path
    texts: tuple[str, ...]
    recipes: Recipes

    def build(self) -> None:
        """Make every dictionary that is not there yet."""
        ways: dict[str, Callable[[Path], None]] = {
            **{name: partial(self._trained, name) for name in GOOD},
            AGAIN: self._trained_again,
            "random": self._random,
            "random-tied": partial(self._tied, centred=False),
            "random-tied-mean": partial(self._tied, centred=True),
            "permuted": partial(self._permuted, share=1.0),
            "permuted-003": partial(self._permuted, share=0.03),
            "wrong-layer": self._of_wrong_layer,
            "wrong-model": self._of_wrong_model,
        }
        scratch = self.folder / "unfinished"
        for name, way in ways.items():
            if not (self._saes / name).is_dir():
                shutil.rmtree(scratch, ignore_errors=True)
                way(scratch)
                self._keep(scratch)
                log.info("%s: made %s", self.folder.name, name)

    @property
    def _saes(self) -> Path:
        return self.folder / "saes"

    def _keep(self, scratch: Path) -> None:
        # Checkpoints first: a training counts as done once what it is named after is there.
        self._saes.mkdir(exist_ok=True)
        for made in sorted(scratch.iterdir(), key=lambda path: path.name in GOOD):
            shutil.rmtree(self._saes / made.name, ignore_errors=True)
            made.rename(self._saes / made.name)

    def _make(self, family: str) -> Make:
        site = SAEMetadata(
            model_name=str(self.folder / "model"),
            hook_name=f"blocks.{self.recipes.block}.hook_resid_post",
            context_size=CONTEXT,
            prepend_bos=True,
            exclude_special_tokens=True,
            sae_lens_version=sae_lens.__version__,
        )
        return replace(self.recipes.makes[family], metadata=site)

    @cached_property
    def _own(self) -> dict[int, Tensor]:
        blocks = (self.recipes.block, self.recipes.other_block)
        return activations(self.folder / "model", self.texts, blocks, self.recipes.tokens)

    def _trained(self, family: str, scratch: Path) -> None:
        kept = {} if family == "relu" else CHECKPOINTS
        named = {f"{family}-{name}": share for name, share in kept.items()}
        x, make = self._own[self.recipes.block], self._make(family)
        dictionaries.train(family, x, scratch, self.recipes.steps, SEED, named, make)

    def _trained_again(self, scratch: Path) -> None:
        x, make = self._own[self.recipes.block], self._make("topk")
        dictionaries.train("topk", x, scratch, self.recipes.steps, SEED + 1, make=make)
        (scratch / "topk").rename(scratch / AGAIN)

    def _of_wrong_layer(self, scratch: Path) -> None:
        self._elsewhere(self._own[self.recipes.other_block], scratch, "wrong-layer")

    def _of_wrong_model(self, scratch: Path) -> None:
        block = self.recipes.block
        x = activations(self.folder / "sibling", self.texts, [block], self.recipes.tokens)[block]
        self._elsewhere(x, scratch, "wrong-model")

    def _elsewhere(self, x: Tensor, scratch: Path, name: str) -> None:
        make = self._make("batchtopk")
        dictionaries.train("topk", x, scratch, self.recipes.steps, SEED, make=make)
        (scratch / "topk").rename(scratch / name)

    def _random(self, scratch: Path) -> None:
        make, x = self._make("topk"), self._own[self.recipes.block]
        spoiled = dictionaries.spoiled(x[:50_000], float(make.k), SEED, make)
        spoiled.save_model(str(scratch / "random"))

    def _tied(self, scratch: Path, centred: bool) -> None:
        """As sae_lens begins, with rows of norm one; the mean is what it may be told besides."""
        x = self._own[self.recipes.block]
        sae = dictionaries.untrained("topk", x.shape[1], SEED, self._make("topk"))
        with torch.no_grad():
            sae.W_dec.copy_(torch.nn.functional.normalize(sae.W_dec))
            sae.W_enc.copy_(sae.W_dec.T)
            if centred:
                sae.b_dec.copy_(x.mean(dim=0))
        sae.save_inference_model(str(scratch / f"random-tied{'-mean' if centred else ''}"))

    def _permuted(self, scratch: Path, share: float) -> None:
        folder = scratch / ("permuted" if share == 1 else f"permuted-{round(100 * share):03}")
        shutil.copytree(self._saes / "topk", folder)
        weights = load_file(folder / WEIGHTS)
        rows = weights["W_dec"]
        generator = torch.Generator().manual_seed(SEED)
        chosen = torch.randperm(len(rows), generator=generator)[: round(share * len(rows))]
        # Every chosen latent writes the row of the next one.
        rows[chosen] = rows[chosen.roll(1)]
        save_file(weights, folder / WEIGHTS)
