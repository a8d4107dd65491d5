"""Worlds whose true features are known, for audits, notebooks and tests.

    from pytest_sae.activations.store import Store
    from pytest_sae.measure import scr_and_tpp
    from pytest_sae.synthetic import SMALL, SMALL_BOOK, TrainingRecipe, World, WorldLatents
    from pytest_sae.synthetic import make_book, recovery, train

    world = World(SMALL[0])
    dictionary = train(world, TrainingRecipe("topk", d_sae=256, k=6), steps=(500, 2000))[2000]
    recovery(dictionary, world.sample(8192, 0, "truth"), world.rows)    # f1, cosine, both

    book = make_book(world, SMALL_BOOK, seed=0)            # texts, and tasks about true features
    latents = WorldLatents(book.texts, world.fingerprint, dictionary, Store(None))
    scr_and_tpp.measure_tpp(latents, book.tasks, seed=0, fits=5)            # any family of metrics

`oracle` is the dictionary of all true features, `cut` one with few latents left, and `make_panel`
a whole panel of them.
"""

from pytest_sae.synthetic.latents import WorldLatents
from pytest_sae.synthetic.panel import SMALL_PLAN, SMOKE_PLAN, Member, PanelPlan, make_panel
from pytest_sae.synthetic.recovery import Recovery, agreement, recovery
from pytest_sae.synthetic.references import cut, oracle
from pytest_sae.synthetic.tasks import (
    LARGE_BOOK,
    SMALL_BOOK,
    SMOKE_BOOK,
    Book,
    BookSize,
    concepts_of,
    make_book,
)
from pytest_sae.synthetic.texts import WorldTexts, texts_of
from pytest_sae.synthetic.training import TrainingRecipe, train
from pytest_sae.synthetic.worlds import LARGE, SMALL, SMOKE, Sample, World, WorldSpec

__all__ = [
    "LARGE",
    "LARGE_BOOK",
    "SMALL",
    "SMALL_BOOK",
    "SMALL_PLAN",
    "SMOKE",
    "SMOKE_BOOK",
    "SMOKE_PLAN",
    "Book",
    "BookSize",
    "Member",
    "PanelPlan",
    "Recovery",
    "Sample",
    "TrainingRecipe",
    "World",
    "WorldLatents",
    "WorldSpec",
    "WorldTexts",
    "agreement",
    "concepts_of",
    "cut",
    "make_book",
    "make_panel",
    "oracle",
    "recovery",
    "texts_of",
    "train",
]
