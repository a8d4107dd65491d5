"""The parts of TPP that are changed one at a time do what they say, and nothing else."""

from __future__ import annotations

import pytest

from benchmarks import tpp_variants
from pytest_sae.activations.store import Store
from pytest_sae.measure import scr_and_tpp
from pytest_sae.measure.given import Given
from pytest_sae.synthetic.latents import WorldLatents
from pytest_sae.synthetic.references import oracle
from pytest_sae.synthetic.tasks import SMOKE_BOOK, Book, make_book
from pytest_sae.synthetic.worlds import SMOKE, World


@pytest.fixture(scope="module")
def book() -> Book:
    return make_book(World(SMOKE[0]), SMOKE_BOOK, 0)


@pytest.fixture(scope="module")
def latents(book: Book) -> WorldLatents:
    world = World(SMOKE[0])
    truth = oracle(world, [(book.texts.x, book.texts.features)])
    return WorldLatents(book.texts, world.fingerprint, truth, Store(None))


def test_the_unchanged_variant_is_tpp_margin_itself(book: Book, latents: WorldLatents):
    ours = {e.metric: e.value for e in tpp_variants.measure(latents, book.tasks, 0, 2)}
    curve = next(
        each.details["curve"]
        for each in scr_and_tpp.measure_tpp(Given(latents, book.tasks, 0, {"fits": 2}))
        if each.metric == "tpp.margin"
    )
    for n in (5, 20, 50):
        expected = curve[str(n)]["value"]
        assert ours[f"tpp.margin, as defined n={n}"] == pytest.approx(expected, rel=1e-6)


def test_the_oracles_best_latent_of_a_class_is_one_of_its_features(
    book: Book, latents: WorldLatents
):
    texts = scr_and_tpp.erasure_texts(book.tasks)
    task, concepts = book.tasks.tpp[0], book.concepts.multis[0]
    view = tpp_variants.PooledTask.of(latents, texts, task.train.texts, task.test.texts)
    probes = tpp_variants.tpp_probes(latents, view, task, 0, 2).fits[0]
    sets = tpp_variants._Reading(view, task).sets(probes)
    for place, (own, best) in enumerate(zip(concepts, sets["best one"], strict=True)):
        assert best[0] in own
        alone, certain = set(sets["own"][place].tolist()), set(sets["certain"][place].tolist())
        assert alone <= certain
        others = {f for each in concepts if each is not own for f in each.tolist()}
        assert not alone & others
