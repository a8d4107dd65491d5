"""Small dictionaries trained on a world by sae_lens' own losses, kept at several points.

    train(world, TrainingRecipe("topk", d_sae=256, k=6), steps=(250, 2000)) -> {250: ..., 2000: ...}

A plain loop around `training_forward_pass` of sae_lens' training classes, in seconds on one core.
What is kept is what sae_lens would save for inference, with decoder norms folded into the latents.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pytest_sae.activations.store import Store, Tensors
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.dictionaries.formats.selection import top_k
from pytest_sae.synthetic.worlds import World

VERSION = "1"  # part of the cache key: raise it when the same recipe gives other weights

Architecture = Literal["topk", "batchtopk", "matryoshka", "standard", "jumprelu"]

_DEAD_AFTER = 200  # steps without firing, after which the auxiliary loss takes a latent up
_DECAY = 0.2  # last share of the steps, in which the rate falls to zero


@dataclass(frozen=True)
class TrainingRecipe:
    """How a dictionary is trained.

    Args:
        architecture: of sae_lens.
        d_sae: number of latents.
        k: active latents of the top-k families.
        penalty: of the others: the L1 (standard) or L0 (jumprelu) coefficient.
        seed: of the initialisation and of the order of the data.
        steps: of the whole training, after which the rate has fallen to zero.
        batch: tokens of a step.
        rate: Adam's learning rate.
        pool: distinct training tokens.
    """

    architecture: Architecture
    d_sae: int
    k: int = 6
    penalty: float = 0.3
    seed: int = 0
    steps: int = 2000
    batch: int = 256
    rate: float = 3e-3
    pool: int = 131_072

    @property
    def name(self) -> str:
        """As reports call it."""
        sparsity = f"p{self.penalty:g}" if self.architecture in _PENALISED else f"k{self.k}"
        seed = f"-s{self.seed}" if self.seed else ""
        return f"{self.architecture}-{self.d_sae}-{sparsity}{seed}"


_PENALISED = ("standard", "jumprelu")


def train(
    world: World, recipe: TrainingRecipe, steps: Sequence[int], store: Store | None = None
) -> dict[int, AffineDictionary]:
    """Train a dictionary and return it as it was after each of some steps.

    Args:
        world: gives the activations.
        recipe: how.
        steps: when to keep it, each at most `recipe.steps`.
        store: keeps the weights, so that each training is done once.

    Returns:
        The dictionary at each of the steps.
    """
    key = {
        "step": "synthetic dictionaries",
        "version": VERSION,
        "world": world.fingerprint,
        "recipe": json.dumps(asdict(recipe), sort_keys=True),
        "steps": list(steps),
    }
    found = (store or Store(None)).get(key, lambda: _trained(world, recipe, frozenset(steps)))
    return {step: _dictionary(world, recipe, step, found) for step in steps}


def _trained(world: World, recipe: TrainingRecipe, kept: frozenset[int]) -> Tensors:
    # The tokens are those of the world, whatever the recipe: seeds differ in their order only.
    tokens = world.sample(recipe.pool, world.spec.seed, "training").x
    order = torch.Generator().manual_seed(recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        loop = _Loop(_untrained(recipe, tokens.shape[1]), recipe)
    weights: Tensors = {}
    for step in range(1, recipe.steps + 1):
        chosen = torch.randint(len(tokens), (recipe.batch,), generator=order)
        loop.step(tokens[chosen.to(tokens.device)], step)
        if step in kept:
            weights |= {f"{step}.{name}": part for name, part in _kept(loop.sae).items()}
    return weights


class _Loop:
    def __init__(self, sae: Any, recipe: TrainingRecipe) -> None:
        self.sae = sae
        self._recipe = recipe
        self._adam = torch.optim.Adam(sae.parameters(), lr=recipe.rate)
        self._silent = torch.zeros(recipe.d_sae)

    def step(self, x: Tensor, number: int) -> None:
        """One step of Adam on sae_lens' loss."""
        from sae_lens.saes.sae import TrainStepInput

        for group in self._adam.param_groups:
            left = (self._recipe.steps - number + 1) / (_DECAY * self._recipe.steps)
            group["lr"] = self._recipe.rate * min(1.0, left)
        rates = {name: _warmed(rate, number) for name, rate in self.sae.get_coefficients().items()}
        out = self.sae.training_forward_pass(
            TrainStepInput(x, rates, self._silent > _DEAD_AFTER, number, False)
        )
        self._adam.zero_grad()
        out.loss.backward()
        torch.nn.utils.clip_grad_norm_(self.sae.parameters(), 1.0)
        self._adam.step()
        fired = (out.feature_acts.detach() != 0).any(0)
        self._silent = torch.where(fired, 0.0, self._silent + 1)


def _warmed(rate: Any, step: int) -> float:
    value, steps = (rate, 0) if isinstance(rate, int | float) else rate
    return float(value) * min(1.0, step / max(1, steps))


def _untrained(recipe: TrainingRecipe, d_in: int) -> Any:
    import sae_lens as lens

    k, d_sae, penalty, warm = recipe.k, recipe.d_sae, recipe.penalty, recipe.steps // 5
    widths = [d_sae // 8, d_sae // 3, d_sae]
    jumps = {"jumprelu_init_threshold": 0.1, "jumprelu_bandwidth": 0.1}
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "topk": ("TopK", {"k": k}),
        "batchtopk": ("BatchTopK", {"k": k}),
        "matryoshka": ("MatryoshkaBatchTopK", {"k": k, "matryoshka_widths": widths}),
        "standard": ("Standard", {"l1_coefficient": penalty, "l1_warm_up_steps": warm}),
        "jumprelu": ("JumpReLU", {"l0_coefficient": penalty, "l0_warm_up_steps": warm, **jumps}),
    }
    kind, more = kinds[recipe.architecture]
    config = getattr(lens, f"{kind}TrainingSAEConfig")(d_in=d_in, d_sae=d_sae, **more)
    return getattr(lens, f"{kind}TrainingSAE")(config)


def _kept(sae: Any) -> Tensors:
    """The inference weights, with the decoder's norms moved into the latents."""
    with torch.no_grad():
        norms = sae.W_dec.norm(dim=1)
        scaled = bool(getattr(sae.cfg, "rescale_acts_by_decoder_norm", False))
        scale = norms if scaled else torch.ones_like(norms)
        kept = {
            "reads": (sae.W_enc * scale).T.contiguous(),
            "reads_bias": sae.b_enc * scale,
            "rows": sae.W_dec / scale[:, None],
            "bias": sae.b_dec.clone(),
        }
        threshold = getattr(sae, "topk_threshold", getattr(sae, "threshold", None))
        if threshold is not None:
            kept["threshold"] = threshold.float().expand(sae.cfg.d_sae).clone()
        if sae.cfg.apply_b_dec_to_input:
            kept["reads_bias"] = kept["reads_bias"] - kept["reads"] @ sae.b_dec
    return {name: part.detach().cpu().clone() for name, part in kept.items()}


def _dictionary(
    world: World, recipe: TrainingRecipe, step: int, found: Mapping[str, Tensor]
) -> AffineDictionary:
    weights = {
        name.partition(".")[2]: part.to(world.device)
        for name, part in found.items()
        if name.partition(".")[0] == str(step)
    }
    activate = _activation(recipe, weights)
    reads, before = weights["reads"], weights["reads_bias"]
    name = f"{recipe.name}@{step}"
    info = DictionaryInfo(name, f"synthetic.{recipe.architecture}", None, None, None)
    digest = hashlib.sha256(name.encode())
    for part in sorted(weights):
        digest.update(weights[part].cpu().numpy().tobytes())
    return AffineDictionary(
        lambda x: activate(x.to(reads.dtype) @ reads.T + before),
        weights["rows"],
        weights["bias"],
        reads,
        info,
        digest.hexdigest(),
    )


def _activation(
    recipe: TrainingRecipe, weights: Mapping[str, Tensor]
) -> Callable[[Tensor], Tensor]:
    if recipe.architecture == "topk":
        return lambda before: top_k(before, recipe.k).relu()
    if "threshold" in weights:
        threshold = weights["threshold"]
        return lambda before: before.relu() * (before > threshold)
    return torch.relu
