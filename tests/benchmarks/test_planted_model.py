"""The planted model does what it was built to do, and families see what was planted on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.concept_panels import Code
from benchmarks.planted_model import ATTRIBUTES, ENTITY, SITE, Planted
from benchmarks.planted_panel import (
    absorbing,
    dictionary,
    lexicon,
    of_truth,
    principled_task,
    ravel_task,
    truth,
)
from pytest_sae.activations.latents import Latents
from pytest_sae.activations.store import Store
from pytest_sae.data.attributes import PrincipledSizes
from pytest_sae.data.entities import RavelSizes
from pytest_sae.data.tasks import Spelling, Tasks
from pytest_sae.families.registry import card_of
from pytest_sae.judge.rule_based import RuleBasedJudge
from pytest_sae.measure.given import Given, measured
from pytest_sae.models.tokenize import Batch, tokenize
from pytest_sae.numbers.estimate import Estimate
from tests.measure import given as measuring

FEW = RavelSizes(entities=30, templates=2, train_pairs=120, test_pairs=60, steps=40)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def planted() -> Planted:
    return Planted()


@pytest.fixture(scope="module")
def codes(planted: Planted) -> dict[str, Code]:
    return {code.name: code for code in of_truth(planted)}


@pytest.fixture(scope="module")
def store() -> Store:
    return Store(None)


def batch_of(planted: Planted, texts: list[str]) -> Batch:
    ids = torch.tensor(tokenize(texts, planted.model.tokenizer, 64, True).ids)
    there = torch.ones_like(ids, dtype=torch.bool)
    return Batch(ids, there, there, torch.arange(len(ids)))


def latents_of(planted: Planted, code: Code, store: Store) -> Latents:
    site = planted.model.site(SITE)
    return Latents(dictionary(planted, code), planted.model, site, store, 64, lambda *_: None)


def test_the_stream_at_the_site_is_the_sum_of_the_features(planted: Planted) -> None:
    texts = planted.corpus(20, 3)
    site = planted.model.site(SITE)
    stream = planted.model.capture(batch_of(planted, texts), [site])[site][:, 1:]
    written = torch.stack([truth(planted, text) for text in texts]) @ planted.rows
    torch.testing.assert_close(stream, written, atol=1e-3, rtol=0)


def test_the_model_says_what_is_asked_for(planted: Planted) -> None:
    filler = planted.words[0].text
    asked = [(a, e) for a in range(len(ATTRIBUTES)) for e in planted.entities[::5]]
    texts = [f"{filler} {e.text} {planted.asking(a)[0]}" for a, e in asked]
    said = planted.model.logits(batch_of(planted, texts))[:, -1].argmax(1).tolist()
    spoken = [planted.model.tokenizer.decode([token]).strip() for token in said]
    assert spoken == [planted.answer(a, e) for a, e in asked]


def test_another_value_at_the_site_is_another_answer(planted: Planted) -> None:
    one, other = planted.entities[0], planted.entities[-1]
    batch = batch_of(planted, [f"{one.text} {planted.asking(0)[0]}"])
    site = planted.model.site(SITE)
    stream = planted.model.capture(batch, [site])[site]
    places = [planted.number(f"country {each.values[0]}") for each in (one, other)]
    stream[0, -1] += planted.rows[places[1]] - planted.rows[places[0]]
    said = int(planted.model.logits_from(batch, site, stream)[0, -1].argmax())
    assert planted.model.tokenizer.decode([said]).strip() == planted.answer(0, other)


def test_texts_are_likelier_than_the_same_words_in_another_order(planted: Planted) -> None:
    texts = planted.corpus(40, 4)
    rng = np.random.default_rng(0)
    mixed = [" ".join(rng.permutation(text.split())) for text in texts]

    def surprise(some: list[str]) -> float:
        batch = batch_of(planted, some)
        logs = planted.model.logits(batch)[:, :-1].log_softmax(-1)
        return -float(logs.gather(2, batch.ids[:, 1:, None]).mean())

    assert surprise(texts) < surprise(mixed) - 1


def ravel_of(planted: Planted, code: Code, store: Store) -> float:
    latents = latents_of(planted, code, store)
    found = measuring.measured("ravel", latents, FEW, ravel=[ravel_task(planted, 0)])
    return found[0].value or 0.0


def test_the_truth_is_first_under_ravel_and_a_wrong_basis_is_seen(
    planted: Planted, codes: dict[str, Code], store: Store
) -> None:
    axes = Code("axes", "control", torch.relu, torch.eye(planted.rows.shape[1]))
    oracle, rotated, neurons = (
        ravel_of(planted, code, store)
        for code in (codes["oracle"], codes["truth rotated in pairs"], axes)
    )
    assert oracle == 1
    assert neurons < rotated < 0.97


def principled_of(planted: Planted, code: Code, store: Store) -> dict[str, Estimate]:
    latents = latents_of(planted, code, store)
    task = principled_task(planted, 0, 0)
    found = measuring.measured("principled", latents, PrincipledSizes(edits=40), principled=[task])
    return {each.metric.removeprefix("principled."): each for each in found}


def test_editing_the_truth_edits_the_answer_and_rotated_features_do_not(
    planted: Planted, codes: dict[str, Code], store: Store
) -> None:
    oracle = principled_of(planted, codes["oracle"], store)
    rotated = principled_of(planted, codes["truth rotated in pairs"], store)
    assert oracle["control"].value == pytest.approx(1, abs=0.01)
    assert (rotated["control"].value or 0) < 0.9
    assert oracle["occlusion"].value == 0


def test_features_in_two_latents_each_are_counted_as_split(
    planted: Planted, codes: dict[str, Code], store: Store
) -> None:
    assert principled_of(planted, codes["truth split"], store)["splitting"].value == 2


@pytest.mark.parametrize("share", [0.0, 0.33, 0.67])
def test_absorption_is_the_share_of_words_that_carry_their_letter(
    planted: Planted, store: Store, share: float
) -> None:
    latents = latents_of(planted, absorbing(planted, share), store)
    words = tuple(each.text for each in planted.words if each.kind <= ENTITY)
    spelled = Tasks(None, (), (), "here", "x", spelling=Spelling(words, examples=1))
    found = measured(card_of("absorption"), Given(latents, spelled, 0, {"words": 5000}))
    assert found[0].value == pytest.approx(share, abs=0.05)


def test_a_judge_that_knows_the_words_tells_where_the_truth_fires(
    planted: Planted, codes: dict[str, Code], store: Store
) -> None:
    found = measuring.measured(
        "autointerp",
        latents_of(planted, codes["oracle"], store),
        {"latents": 30, "intervened": 4},
        corpus=planted.corpus(600, 5),
        judge=RuleBasedJudge(lexicon(planted)),
    )
    values = {each.metric: each.value or 0 for each in found}
    assert values["autointerp.detection"] > 0.9
    assert values["autointerp.fuzzing"] > 0.9
