"""A dictionary's latents on a world's texts are pooled as those of a language model are."""

from __future__ import annotations

import numpy as np
import torch

from pytest_sae import synthetic
from pytest_sae.activations.store import Store
from pytest_sae.measure import scr_and_tpp
from pytest_sae.measure.given import Given
from pytest_sae.synthetic.latents import WorldLatents
from pytest_sae.synthetic.references import oracle
from pytest_sae.synthetic.tasks import SMOKE_BOOK, make_book
from pytest_sae.synthetic.worlds import SMOKE, World


def test_pooled_latents_of_the_oracle_are_means_of_true_features():
    world = World(SMOKE[0])
    book = make_book(world, SMOKE_BOOK, 0)
    truth = oracle(world, [(book.texts.x, book.texts.features)])
    latents = WorldLatents(book.texts, world.fingerprint, truth, Store(None))
    texts = scr_and_tpp.erasure_texts(book.tasks)
    pooled = latents.pooled(texts)
    for place in (0, 1, len(texts) - 1):
        line = book.texts.names.index(texts[place])
        explicit = torch.stack(list(book.texts.features[line])).mean(0).numpy()
        np.testing.assert_allclose(pooled.z[[place]].toarray()[0], explicit, atol=1e-6)
        explicit = book.texts.x[line].mean(0).numpy()
        np.testing.assert_allclose(pooled.x[place], explicit, atol=1e-5)
    assert latents.can_read(texts)
    assert not latents.can_read([*texts, "another"])


def test_a_notebook_trains_a_dictionary_and_measures_any_family_on_it():
    world = World(SMOKE[0])
    recipe = synthetic.TrainingRecipe("topk", d_sae=48, k=4, steps=60, batch=64, pool=1024)
    dictionary = synthetic.train(world, recipe, steps=(60,))[60]
    found = synthetic.recovery(dictionary, world.sample(1000, 0, "truth"), world.rows)
    assert 0 < found.both <= min(found.f1, found.cosine) < 1
    book = make_book(world, SMOKE_BOOK, seed=0)
    latents = synthetic.WorldLatents(book.texts, world.fingerprint, dictionary, Store(None))
    measured = scr_and_tpp.measure_tpp(Given(latents, book.tasks, 0, {"fits": 2}))
    assert {each.metric for each in measured} == {
        "tpp",
        "tpp.margin",
        "tpp.rescaled",
        "tpp.canonical",
    }
