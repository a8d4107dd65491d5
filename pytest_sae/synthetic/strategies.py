"""Hypothesis strategies: dictionaries, activations, changes that no metric may notice, worlds.

    @given(dictionary=dictionaries(), x=activations(16), data=st.data())
    def test_numbering(dictionary, x, data):
        order = data.draw(orders(dictionary.d_sae))
        assert mine(renumbered(dictionary, order), x) == mine(dictionary, x)

    @given(world=worlds(), data=st.data())
    def test_truth(world, data):
        book = data.draw(books(world))       # texts, SCR and TPP tasks about true features
        known = oracle(world, [(book.texts.x, book.texts.features)])
        latents = WorldLatents(book.texts, world.fingerprint, known, Store(None))
        assert mine(latents, book.tasks) > 0.9

Needs hypothesis, which the `test` extra brings. A world and its book take about a tenth of a
second, so that `settings(deadline=None)` is wise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hypothesis import event, reject
from hypothesis import strategies as st
from torch import Tensor

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.errors import DataError
from pytest_sae.synthetic.dictionaries import ARCHITECTURES, random_dictionary
from pytest_sae.synthetic.tasks import Book, BookSize, make_book
from pytest_sae.synthetic.worlds import World, WorldSpec

#: The kinds of worlds: as many dimensions as features; more features than dimensions; such ones
#: with children that fire only with their parent; with features that fire together.
KINDS = ("independent", "superposed", "hierarchical", "correlated")

_SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def dictionaries(
    draw: st.DrawFn,
    d_in: int = 16,
    architectures: Sequence[str] = ARCHITECTURES,
    d_sae: st.SearchStrategy[int] | None = None,
) -> Dictionary:
    """Give random dictionaries of any architecture.

    Args:
        draw: from hypothesis.
        d_in: width of what they read and write.
        architectures: those that may come.
        d_sae: numbers of latents; 2 to 4 times d_in by default.
    """
    size = draw(st.integers(2, 4 * d_in) if d_sae is None else d_sae)
    return random_dictionary(
        draw(st.sampled_from(architectures)),
        d_in,
        size,
        draw(_SEEDS),
        k=draw(st.integers(1, min(8, size))),
    )


@st.composite
def activations(
    draw: st.DrawFn, d: int = 16, tokens: st.SearchStrategy[int] | None = None
) -> Tensor:
    """Give activations of any scale: Gaussian around a mean, some tokens zero or repeated.

    Args:
        draw: from hypothesis.
        d: their width.
        tokens: how many; 1 to 40 by default.

    Returns:
        (token, d).
    """
    count = draw(st.integers(1, 40) if tokens is None else tokens)
    generator = torch.Generator().manual_seed(draw(_SEEDS))
    x = torch.randn(count, d, generator=generator) + torch.randn(d, generator=generator)
    x = draw(st.sampled_from([0.01, 1.0, 30.0])) * x
    for row in draw(st.sets(st.integers(0, count - 1), max_size=2)):
        x[row] = 0 if draw(st.booleans()) else x[0]
    return x


def orders(size: int) -> st.SearchStrategy[Tensor]:
    """Permutations (size,) of latents, texts or tokens."""
    return _SEEDS.map(
        lambda seed: torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    )


def factors(size: int) -> st.SearchStrategy[Tensor]:
    """Positive factors (size,), powers of two from 1/8 to 8: units that lose no bit."""
    return _SEEDS.map(lambda seed: _powers(size, seed))


def _powers(size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2.0 ** torch.randint(-3, 4, (size,), generator=generator)


@st.composite
def world_specs(draw: st.DrawFn, kinds: Sequence[str] = KINDS) -> WorldSpec:
    """Give small worlds: 24 to 48 features in 8 to 48 dimensions, each on 5 to 11 % of the tokens.

    Args:
        draw: from hypothesis.
        kinds: those that may come, of `KINDS`.

    Raises:
        ValueError: a kind that there is not.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ValueError(f"unknown kind {unknown[0]!r}. Expected {', '.join(KINDS)}.")
    kind, features = draw(st.sampled_from(kinds)), draw(st.sampled_from([24, 36, 48]))
    least = draw(st.sampled_from([0.05, 0.06, 0.08]))
    return WorldSpec(
        kind,
        features,
        features if kind == "independent" else draw(st.sampled_from([8, 12, 16])),
        draw(_SEEDS),
        most=least + 0.03,
        least=least,
        roots=draw(st.integers(4, 8)) if kind == "hierarchical" else 0,
        branching=2,
        exclusive=0.0,
        correlation=draw(st.sampled_from([0.05, 0.1])) if kind == "correlated" else 0.0,
        rank=4,
        bias=draw(st.sampled_from([0.0, 1.0, 5.0])),
    )


def worlds(kinds: Sequence[str] = KINDS) -> st.SearchStrategy[World]:
    """Worlds of `world_specs`.

    Args:
        kinds: those that may come, of `KINDS`.
    """
    return st.builds(World, world_specs(kinds))


def book_sizes() -> st.SearchStrategy[BookSize]:
    """Sizes of books that worlds of `worlds` can fill: no cell of a task is rare."""
    return st.builds(
        BookSize,
        pool=st.just(3000),
        length=st.just(6),
        corpus=st.integers(20, 60),
        pairs=st.integers(1, 3),
        multis=st.integers(1, 2),
        classes=st.integers(3, 5),
        concept=st.integers(2, 3),
        share=st.just(2),
        train=st.integers(16, 40),
        test=st.integers(12, 30),
        least=st.just(0.0),
        most=st.just(1.0),
    )


def books(
    world: World, sizes: st.SearchStrategy[BookSize] | None = None
) -> st.SearchStrategy[Book]:
    """Give texts of a world with SCR and TPP tasks about its true features, balanced.

    A world that cannot fill them is rejected, and told as an event: of `worlds`, where one concept
    of a pair goes with the other so often that they cannot be balanced (fewer than 1 in 100).

    Args:
        world: that the texts are of.
        sizes: how much they hold; `book_sizes()` by default.
    """
    return st.builds(_book, st.just(world), book_sizes() if sizes is None else sizes, _SEEDS)


def _book(world: World, size: BookSize, seed: int) -> Book:
    try:
        return make_book(world, size, seed)
    except DataError as error:
        event(str(error))
        reject()
