"""Worlds of many kinds, to try definitions of concept metrics on: not the audit's, other code.

    world = KindWorld(DESIGN[0])
    world.pairs, world.multis         # which features the concepts of each task are
    world.task(kinds, seed)           # labelled texts of a task, with features and activations

A text has a concept as a *cause* (its features fire more often) or as a *consequence* (the label
says whether they fired). Nothing here depends on `pytest_sae.synthetic.worlds`, so that what was
settled there meets something else.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor

from pytest_sae.numbers.bootstrap import generator
from pytest_sae.synthetic.worlds import Sample

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TOKENS = 12  # of a text
_PIECE = 500  # texts drawn at once


@dataclass(frozen=True)
class Kind:
    """All that decides a world.

    Args:
        name: as tables call it.
        features: number of true features.
        d: width of the activations.
        seed: of the construction.
        magnitudes: `lognormal`, `uniform`, `gamma` or `normal`, of how strongly a feature fires.
        least: firing probability of the rarest feature.
        most: of the most frequent one; log-uniform between.
        parents: share of features that fire whenever one of their children does.
        together: correlation of the firing of features of one group of eight.
        aspect: ratio of the largest to the smallest spread of the directions, 1 for isotropic.
        dense: features that fire on six of ten tokens.
        topics: that a text has one of; each makes a tenth of the features fire four times as often.
        flipped: share of labels that are wrong.
        caused: whether a concept makes its features fire, else the label says whether they did.
        concept: features of a concept.
        lift: firing probability of a concept's features in a text that has it.
        noise: spread of what is added to every coordinate of every token.
        k: active latents of the dictionaries that are trained on it.
    """

    name: str
    features: int
    d: int
    seed: int
    magnitudes: str = "normal"
    least: float = 0.005
    most: float = 0.08
    parents: float = 0.0
    together: float = 0.0
    aspect: float = 1.0
    dense: int = 0
    topics: int = 0
    flipped: float = 0.0
    caused: bool = True
    concept: int = 2
    lift: float = 0.22
    noise: float = 0.0
    k: int = 6


#: Definitions were chosen on these.
DESIGN = (
    Kind("plain", 200, 64, 101, caused=False, concept=1),
    Kind("wide lognormal", 300, 48, 102, "lognormal", flipped=0.05, concept=3),
    Kind("hierarchy", 160, 64, 103, "uniform", parents=0.2, caused=False),
    Kind("correlated gamma", 220, 80, 104, "gamma", together=0.5, concept=3, noise=0.05),
    Kind("anisotropic dense", 140, 56, 105, aspect=6.0, dense=3, concept=2),
    Kind("topics", 256, 64, 106, "lognormal", topics=8, concept=4, flipped=0.1),
)
#: Run once, when a definition had been chosen.
HELD_OUT = (
    Kind("held out a", 320, 72, 907, "gamma", together=0.3, dense=2, concept=3, flipped=0.05),
    Kind("held out b", 120, 60, 908, "lognormal", parents=0.15, topics=5, caused=False, concept=2),
    Kind("held out c", 260, 52, 909, "uniform", aspect=4.0, concept=1, noise=0.08, lift=0.3),
)


@dataclass(frozen=True, eq=False)
class Labelled:
    """Texts of one task.

    Args:
        name: of the task.
        x: (text, d) pooled activations.
        tokens: (text, token, d) activations.
        labels: (label, text) bool of a pair, (text,) int of classes.
        cells: (text,) quadrant or class.
        train: how many of the texts, the first ones, are to train on.
        features: (text, token, F) how strongly each feature fires.
    """

    name: str
    tokens: Tensor
    features: Tensor
    labels: NDArray[np.generic]
    cells: Ints
    train: int


class KindWorld:
    """A world of a kind; it has what `synthetic.training.train` and `oracle` need of a world."""

    def __init__(self, spec: Kind) -> None:
        self.spec = spec
        self.device = torch.device("cpu")
        rng = generator(spec.seed, "kinds", spec.name)
        rows = rng.standard_normal((spec.features, spec.d))
        rows *= np.geomspace(1, spec.aspect, spec.d)
        self._rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        self._bias = rng.standard_normal(spec.d) * 0.5
        shares = np.exp(rng.uniform(np.log(spec.least), np.log(spec.most), spec.features))
        shares[: spec.dense] = 0.6
        self.shares = shares
        heads = int(spec.parents * spec.features)
        self._parents = np.arange(spec.dense, spec.dense + heads)
        # Every other child has a parent.
        children = np.arange(spec.dense + heads, spec.features, 2)
        self.parent_of = np.full(spec.features, -1)
        if heads:
            self.parent_of[children] = rng.choice(self._parents, len(children))
        self._topical = rng.random((max(spec.topics, 1), spec.features)) < 0.1
        free = np.arange(spec.dense + heads, spec.features)
        drawn = rng.permutation(free)[: spec.concept * (2 * PAIRS + CLASSES * MULTIS)]
        concepts = drawn.reshape(-1, spec.concept)
        self.pairs = concepts[: 2 * PAIRS].reshape(PAIRS, 2, spec.concept)
        self.multis = concepts[2 * PAIRS :].reshape(MULTIS, CLASSES, spec.concept)

    @property
    def rows(self) -> Tensor:
        """(F, d) the true directions."""
        return torch.as_tensor(self._rows, dtype=torch.float32)

    @property
    def bias(self) -> Tensor:
        """(d,)."""
        return torch.as_tensor(self._bias, dtype=torch.float32)

    @property
    def fingerprint(self) -> str:
        """Of all that decides it."""
        return hashlib.sha256(json.dumps(asdict(self.spec)).encode()).hexdigest()

    @property
    def asked(self) -> Ints:
        """Features that any task is about."""
        return np.unique(np.concatenate([self.pairs.ravel(), self.multis.ravel()]))

    def texts(self, raised: Bools, barred: Bools, rng: np.random.Generator) -> Tensor:
        """Draw (text, token, F) features; concepts that a text has, or that it must not have."""
        parts = [
            self._piece(raised[start : start + _PIECE], barred[start : start + _PIECE], rng)
            for start in range(0, len(raised), _PIECE)
        ]
        return torch.cat(parts)

    def _piece(self, raised: Bools, barred: Bools, rng: np.random.Generator) -> Tensor:
        spec, (texts, features) = self.spec, raised.shape
        shares = np.tile(self.shares, (texts, 1))
        if spec.topics:
            topic = rng.integers(spec.topics, size=texts)
            shares = np.where(self._topical[topic], np.minimum(4 * shares, 0.6), shares)
        shares = np.where(raised, np.maximum(spec.lift, shares), np.where(barred, 0.0, shares))
        drawn = rng.random((texts, TOKENS, features), dtype=np.float32)
        if spec.together:
            groups = -(-features // 8)
            shared = np.repeat(rng.standard_normal((texts, TOKENS, groups)), 8, axis=2)
            mixed = np.sqrt(spec.together) * shared[..., :features]
            mixed += np.sqrt(1 - spec.together) * norm.ppf(np.clip(drawn, 1e-6, 1 - 1e-6))
            drawn = norm.cdf(mixed).astype(np.float32)
        fires = drawn < shares[:, None]
        for child in np.flatnonzero(self.parent_of >= 0):
            fires[..., self.parent_of[child]] |= fires[..., child]
        strength = _MAGNITUDES[spec.magnitudes](rng, fires.shape)
        return torch.as_tensor(np.where(fires, strength, 0.0).astype(np.float32))

    def activations(self, features: Tensor, rng: np.random.Generator) -> Tensor:
        """(..., F) to (..., d)."""
        x = features @ self.rows + self.bias
        if self.spec.noise:
            x = x + self.spec.noise * torch.as_tensor(rng.standard_normal(x.shape), dtype=x.dtype)
        return x

    def sample(self, tokens: int, seed: int, purpose: str) -> Sample:
        """Draw tokens of texts about anything: as `synthetic.worlds.World.sample`."""
        rng = generator(seed, "kinds", self.spec.name, purpose)
        count = -(-tokens // TOKENS)
        asked = np.concatenate([self.pairs.reshape(-1, self.spec.concept),
                                self.multis.reshape(-1, self.spec.concept)])  # fmt: skip
        raised = np.zeros((count, self.spec.features), bool)
        for concept in asked:
            raised[np.ix_(rng.random(count) < 0.1, concept)] = True
        features = self.texts(raised, np.zeros_like(raised), rng).flatten(0, 1)[:tokens]
        return Sample(features, self.activations(features, rng))

    def pair(self, place: int, cell: tuple[int, int], seed: int) -> Labelled:
        """Texts of two concepts that vary independently; `cell` is texts to train and test on."""
        values = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], bool)
        return self._task(f"pair {place}", self.pairs[place], values, cell, seed)

    def multi(self, place: int, cell: tuple[int, int], seed: int) -> Labelled:
        """Texts of exclusive classes."""
        values = np.eye(CLASSES, dtype=bool)
        found = self._task(f"classes {place}", self.multis[place], values, cell, seed)
        return Labelled(
            found.name, found.tokens, found.features, found.cells, found.cells, found.train
        )

    def _task(
        self, name: str, concepts: Ints, values: Bools, cell: tuple[int, int], seed: int
    ) -> Labelled:
        spec = self.spec
        rng = generator(seed, "kinds", spec.name, name)
        cells = np.concatenate(
            [rng.permutation(np.repeat(np.arange(len(values)), each)) for each in cell]
        )
        true = values[cells]
        raised = np.zeros((len(cells), spec.features), bool)
        barred = np.zeros_like(raised)
        for c, concept in enumerate(concepts):
            raised[np.ix_(true[:, c], concept)] = True
            if not spec.caused:
                barred[np.ix_(~true[:, c], concept)] = True
        features = self.texts(raised, barred, rng)
        if not spec.caused:
            self._ensure(features, concepts, true, rng)
        wrong = rng.random(len(cells)) < spec.flipped
        told = np.where(wrong, rng.permutation(cells), cells)
        tokens = self.activations(features, rng)
        labels = values[told].T
        return Labelled(name, tokens, features, labels, told, cell[0] * len(values))

    def _ensure(
        self, features: Tensor, concepts: Ints, true: Bools, rng: np.random.Generator
    ) -> None:
        """Where the label says that a concept fired, it has fired on a token at least."""
        for c, concept in enumerate(concepts):
            silent = (features[:, :, concept] == 0).all(2).all(1).numpy() & true[:, c]
            for text in np.flatnonzero(silent):
                one = int(rng.choice(concept))
                token = int(rng.integers(TOKENS))
                features[text, token, one] = 1.0
                if self.parent_of[one] >= 0:
                    features[text, token, self.parent_of[one]] += 1.0


PAIRS, MULTIS, CLASSES = 4, 2, 5

_MAGNITUDES = {
    "normal": lambda rng, shape: np.abs(1 + 0.3 * rng.standard_normal(shape, dtype=np.float32)),
    "lognormal": lambda rng, shape: np.exp(0.5 * rng.standard_normal(shape, dtype=np.float32)),
    "uniform": lambda rng, shape: 0.3 + 1.4 * rng.random(shape, dtype=np.float32),
    "gamma": lambda rng, shape: rng.standard_gamma(2.0, shape, dtype=np.float32) / 2,
}
