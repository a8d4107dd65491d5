"""Worlds whose true features are known: activations made of them, deterministic from a seed.

    world = World(SMALL[0])
    sample = world.sample(1000, seed=0, purpose="look")    # .features (token, F), .x (token, d)
    world.rows                                             # (F, d) the true feature directions

Built on `sae_lens.synthetic`: more features than dimensions (superposition), firing probabilities
that fall by Zipf's law, children that fire only with their parent, and correlated features. Its
sampler draws from torch's global generator: here that is forked, seeded, and put back.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

VERSION = "1"  # part of every cache key: raise it when the same spec gives other activations

_CHUNK = 16384  # tokens drawn at once: bounds what the sampler holds


@dataclass(frozen=True)
class WorldSpec:
    """All that decides a world.

    Args:
        name: as reports call it.
        features: number of true features, F.
        d: width of the activations.
        seed: of the construction: directions, probabilities, hierarchy, correlations.
        exponent: of Zipf's law of the firing probabilities.
        most: firing probability of the most frequent feature.
        least: of the rarest one.
        roots: parents in the hierarchy; 0 for none.
        branching: children of a parent.
        exclusive: share of parents whose children exclude each other.
        correlation: scale of the low-rank correlations between features; 0 for none.
        rank: of the correlations.
        bias: norm of the constant that is added to every activation.
    """

    name: str
    features: int
    d: int
    seed: int = 0
    exponent: float = 0.5
    most: float = 0.2
    least: float = 0.01
    roots: int = 0
    branching: int = 4
    exclusive: float = 0.5
    correlation: float = 0.0
    rank: int = 8
    bias: float = 1.0


SMOKE = (WorldSpec("smoke", 48, 24, most=0.15, least=0.03),)

#: For two cores: one world for each thing that may go wrong, and one with all of them.
SMALL = (
    WorldSpec("superposed", 256, 64, seed=1),
    WorldSpec("hierarchical", 256, 80, seed=2, roots=24, branching=4),
    WorldSpec("correlated", 320, 96, seed=3, roots=16, branching=3, correlation=0.1),
)

#: For a GPU.
LARGE = (WorldSpec("large", 4096, 512, seed=4, most=0.1, least=0.002, roots=128, correlation=0.1),)


@dataclass(frozen=True, eq=False)
class Sample:
    """Tokens of a world.

    Args:
        features: (token, F) float32, how strongly each true feature fires; 0 where it does not.
        x: (token, d) float32, `bias + features @ rows`.
    """

    features: Tensor
    x: Tensor


class World:
    """A world made from its specification.

    Args:
        spec: all that decides it.
        device: where activations are drawn; another device draws other ones.
    """

    def __init__(self, spec: WorldSpec, device: str = "cpu") -> None:
        self.spec = spec
        self.device = torch.device(device)
        self._model = _model(spec, device)

    @property
    def rows(self) -> Tensor:
        """(F, d): the true feature directions, unit vectors."""
        rows: Tensor = self._model.feature_dict.feature_vectors.detach()
        return rows

    @property
    def bias(self) -> Tensor:
        """(d,): what every activation has in common."""
        bias: Tensor = self._model.feature_dict.bias.detach()
        return bias

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 of the specification and of the directions that came of it."""
        digest = hashlib.sha256(json.dumps([VERSION, asdict(self.spec)]).encode())
        digest.update(self.rows.cpu().numpy().tobytes())
        return digest.hexdigest()

    def sample(self, tokens: int, seed: int, purpose: str) -> Sample:
        """Draw tokens.

        Args:
            tokens: how many.
            seed: the run's.
            purpose: what they are for: other purposes get other tokens.
        """
        with _seeded(_number(self.spec, seed, purpose), self.device):
            sizes = [min(_CHUNK, tokens - start) for start in range(0, tokens, _CHUNK)]
            features = torch.cat([self._model.activation_generator.sample(n) for n in sizes])
        return Sample(features, features @ self.rows + self.bias)


@contextmanager
def _seeded(number: int, device: torch.device) -> Iterator[None]:
    """Torch's global generators at a seed of ours, and afterwards as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(number)
        yield


def _number(spec: WorldSpec, seed: int, purpose: str) -> int:
    text = json.dumps([asdict(spec), seed, purpose])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def _model(spec: WorldSpec, device: str) -> Any:
    state = random.getstate()
    from sae_lens.synthetic import (
        HierarchyConfig,
        LowRankCorrelationConfig,
        SyntheticModel,
        SyntheticModelConfig,
        ZipfianFiringProbabilityConfig,
    )

    random.setstate(state)  # the first import of sae_lens draws from Python's global generator
    hierarchy = HierarchyConfig(
        total_root_nodes=max(spec.roots, 1),
        branching_factor=spec.branching,
        max_depth=1,
        mutually_exclusive_portion=spec.exclusive,
        compensate_probabilities=True,
    )
    return SyntheticModel(
        SyntheticModelConfig(
            num_features=spec.features,
            hidden_dim=spec.d,
            firing_probability=ZipfianFiringProbabilityConfig(
                exponent=spec.exponent, max_prob=spec.most, min_prob=spec.least
            ),
            hierarchy=hierarchy if spec.roots else None,
            correlation=LowRankCorrelationConfig(rank=spec.rank, correlation_scale=spec.correlation)
            if spec.correlation
            else None,
            std_firing_magnitudes=0.3,
            mean_firing_magnitudes=1.0,
            bias=spec.bias,
            seed=spec.seed,
        ),
        device=device,
    )
