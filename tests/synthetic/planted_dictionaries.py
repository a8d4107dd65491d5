"""Worlds with a book, dictionaries from useless to the oracle, and all figures of one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import Phase, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from pytest_sae.activations.store import Store
from pytest_sae.audit.gather import audited
from pytest_sae.data.tasks import Tasks
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo
from pytest_sae.dictionaries.references import identity
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.numbers.keys import metric_key
from pytest_sae.synthetic import Book, BookSize, World, WorldLatents, oracle
from pytest_sae.synthetic.strategies import books, worlds

FAMILIES = tuple(audited())
REFITTED = ("erasure", "removal")  # probes are fitted again after every ablation
QUICK = tuple(name for name in FAMILIES if name not in REFITTED)
FITS = 2
SIZE = BookSize(
    pool=3000, length=6, corpus=60, pairs=1, multis=1, classes=4, concept=2, share=2, train=40,
    test=30, least=0.0, most=1.0,
)  # fmt: skip

# An example takes a second: a failure is told as it was found, not shrunk for minutes.
unshrunk = settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])
few = settings(unshrunk, max_examples=3)


@dataclass(frozen=True, eq=False, repr=False)
class Planted:
    """A world with a book of it, and dictionaries of which it is known how good they are.

    Args:
        world: whose features are true.
        book: its texts and tasks.
    """

    world: World
    book: Book

    def __repr__(self) -> str:
        return f"Planted({self.world.spec}, {self.book})"

    @property
    def truth(self) -> Tensor:
        """(text, token, F) how strongly each feature fires."""
        return self.book.texts.features

    def latents(self, dictionary: Dictionary) -> WorldLatents:
        """Return what a dictionary makes of the book's texts; nothing is kept."""
        return WorldLatents(self.book.texts, self.world.fingerprint, dictionary, Store(None))

    def oracle(self) -> AffineDictionary:
        """Return the dictionary of all true features."""
        return oracle(self.world, [(self.book.texts.x, self.truth)])

    def identity(self) -> AffineDictionary:
        """Return the activations themselves: a latent for every coordinate."""
        return identity(self.oracle())

    def silent(self) -> AffineDictionary:
        """Return a dictionary whose latents never fire and which writes nothing at all."""
        count = len(self.world.rows)
        return _made(
            "silent",
            lambda x: torch.zeros(len(x), count),
            self.world.rows,
            torch.zeros_like(self.world.bias),
        )

    def noisy(self, strength: float, seed: int) -> AffineDictionary:
        """Return the oracle with noise of a strength added to its decoder rows."""
        rows = self.world.rows + strength * _rows(self.world.rows.shape, seed)
        return _made(f"noisy {strength} {seed}", self.oracle().encode, rows, self.world.bias)

    def scaled(self, strength: float) -> AffineDictionary:
        """Return the oracle writing at another strength."""
        return _made(
            f"scaled {strength}",
            self.oracle().encode,
            strength * self.world.rows,
            self.world.bias,
        )

    def knowing(self, share: float, seed: int) -> AffineDictionary:
        """Return the oracle with a share of the tasks' features, and all that no task is about.

        In the place of the others stand latents that fire as often and as strongly, on tokens
        that have nothing to do with them, and write random directions. Who knows more knows all
        that who knows less does.
        """
        generator = torch.Generator().manual_seed(seed)
        about = torch.from_numpy(self.book.concepts.features)
        about = about[torch.randperm(len(about), generator=generator)]
        known = torch.ones(len(self.world.rows))
        known[about[round(share * len(about)) :]] = 0
        truth = self.truth.flatten(0, 1)
        elsewhere = truth[torch.randperm(len(truth), generator=generator)]
        right, wrong = self.oracle(), oracle(self.world, [(self.book.texts.x, elsewhere)])
        rows = torch.where(
            known[:, None] > 0, self.world.rows, _rows(self.world.rows.shape, seed + 1)
        )
        return _made(
            f"knowing {share} {seed}",
            lambda x: right.encode(x) * known + wrong.encode(x) * (1 - known),
            rows,
            self.world.bias,
        )


def _rows(shape: torch.Size, seed: int) -> Tensor:
    return normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), dim=1)


def _made(
    name: str, encode: Callable[[Tensor], Tensor], rows: Tensor, bias: Tensor
) -> AffineDictionary:
    info = DictionaryInfo(name, "planted", None, None, None)
    digest = hashlib.sha256(f"{name} {rows.sum()} {bias.sum()}".encode()).hexdigest()
    return AffineDictionary(encode, rows, bias, rows, info, digest)


@st.composite
def planted(draw: st.DrawFn) -> Planted:
    """A world of any kind and a book of it."""
    world = draw(worlds())
    return Planted(world, draw(books(world, st.just(SIZE))))


def figures(
    planted: Planted,
    dictionary: Dictionary,
    families: Sequence[str] = QUICK,
    tasks: Tasks | None = None,
) -> dict[str, Estimate]:
    """All estimates of a dictionary on a book's tasks, by metric and setting."""
    latents, tasks = planted.latents(dictionary), tasks or planted.book.tasks
    measure = audited()
    found = [each for name in families for each in measure[name](latents, tasks, 0, FITS)]
    assert all(each.value is None or np.isfinite(each.value) for each in found)
    return {metric_key(each.metric, each.params): each for each in found}
