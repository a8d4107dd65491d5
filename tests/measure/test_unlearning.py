"""Unlearning on the bundled model: where what is to be forgotten is read, and where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from pytest_sae.activations.store import Store
from pytest_sae.data.unlearning import Question, UnlearningSizes, UnlearningTask, orders
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.measure.unlearning import Clamp, clamped_change, firing, known
from pytest_sae.metrics.unlearning import Setting
from pytest_sae.models.tokenize import tokenize
from tests.activations.witness import TinyDictionary
from tests.measure.given import measured
from tests.measure.planted_codes import bundled, latents_of, model, planted, tasks

LOW = "blocks.0.hook_resid_pre"
SIZES = UnlearningSizes(texts=60, questions=12, orders=1)


@pytest.fixture(scope="module")
def task() -> UnlearningTask:
    whole = tasks().unlearning[0]
    return replace(
        whole,
        forget=whole.forget[:60],
        retain=whole.retain[:60],
        forget_questions=whole.forget_questions[:14],
        retain_questions=whole.retain_questions[:14],
        fingerprint="few",
    )


def subjects_as_latents(store: Store, task: UnlearningTask) -> Dictionary:
    """Two latents, which fire on the things that either subject is about."""
    latents = latents_of(bundled("topk"), store, LOW)
    asked = (*task.forget_questions, *task.retain_questions)
    prompts = tuple(dict.fromkeys(task.prompt.of(question, orders(4)[0]) for question in asked))
    parts = [p for texts in (task.forget, task.retain, prompts) for p in latents.tokens(texts)]
    x = torch.cat([part.x_valid for part in parts])
    ids = torch.cat([part.batch.ids[part.batch.valid] for part in parts])
    codes = torch.stack(
        [torch.isin(ids, things(questions)) for questions in (FORGET, RETAIN)], dim=1
    ).float()
    rows = codes.T @ x / codes.sum(0)[:, None] - x.mean(0)
    return planted(x, codes, rows)


FORGET, RETAIN = tasks().unlearning[0].forget_questions, tasks().unlearning[0].retain_questions


def things(questions: Sequence[Question]) -> torch.Tensor:
    """Return the tokens of what the questions on one subject are about."""
    words = sorted({question.unit.split()[0] for question in questions})
    encoded = model().tokenizer([f"the {word}" for word in words], add_special_tokens=False)
    return torch.tensor([ids[-1] for ids in encoded.input_ids])


def test_clamping_a_subjects_own_things_below_where_they_are_read_forgets_it(
    store: Store, task: UnlearningTask
) -> None:
    dictionary = subjects_as_latents(store, task)
    forgotten, retained = measured(
        "unlearning", latents_of(dictionary, store, LOW), SIZES, unlearning=[task]
    )
    assert forgotten.value is not None
    assert forgotten.value > 0.5
    assert retained.value is not None
    assert retained.value > 0.9
    told = forgotten.details["tasks"]["biology"]
    assert len(told["curve"]) == 16
    best = min(told["curve"], key=lambda each: each["forget"])
    assert best["forget"] < 0.5
    assert best["retain"] == 1
    assert told["right_by_the_last_token_alone"] < 0.6


def test_where_the_answer_is_read_already_nothing_is_forgotten(
    store: Store, task: UnlearningTask
) -> None:
    forgotten, _ = measured(
        "unlearning", latents_of(bundled("topk"), store), SIZES, unlearning=[task]
    )
    assert forgotten.value is not None
    assert forgotten.value < 0.3
    assert forgotten.details["tasks"]["biology"]["right_by_the_last_token_alone"] > 0.9
    for each in forgotten.details["tasks"]["biology"]["curve"]:
        assert each["forget"] > 0.7 or each["retain"] < 0.99, each


def test_a_dictionary_without_latents_of_the_subject_is_undefined(
    store: Store, task: UnlearningTask
) -> None:
    everywhere = planted(torch.zeros(1, 128), torch.ones(1, 4), torch.zeros(4, 128))
    found = measured("unlearning", latents_of(everywhere, store), SIZES, unlearning=[task])
    assert {each.status for each in found} == {"undefined"}
    assert "no latent fires on what is to be forgotten" in found[0].reason


def test_known_questions_are_right_in_every_order_of_their_options(
    store: Store, task: UnlearningTask
) -> None:
    latents, questions = latents_of(bundled("topk"), store), task.forget_questions[:5]
    letters = [model().tokenizer(each, add_special_tokens=False).input_ids[0] for each in "ABCD"]
    found = known(latents, replace(task, fingerprint="five"), questions)
    expected = []
    for question in questions:
        right = []
        for order in orders(4):
            ids = tokenize([task.prompt.of(question, order)], model().tokenizer, 128, True).ids
            with torch.no_grad():
                logits = model().hf(input_ids=torch.tensor(ids)).logits[0, -1]
            right.append(order[int(logits[letters].argmax())] == question.right)
        if all(right):
            expected.append(question)
    assert found == expected


def test_firing_is_counted_and_averaged_where_it_happens(
    store: Store, task: UnlearningTask
) -> None:
    latents = latents_of(bundled("topk"), store)
    share, typical = firing(latents, task.forget[:20])
    x = torch.cat([part.x_valid for part in latents.tokens(task.forget[:20])])
    z = latents.dictionary.encode(x).double().numpy()
    np.testing.assert_allclose(share, (z != 0).mean(0))
    for latent in np.flatnonzero(share)[:20]:
        fired = z[:, latent][z[:, latent] != 0]
        assert typical[latent] == pytest.approx(fired.mean(), rel=1e-5)


def test_a_clamp_moves_firing_latents_alone_and_keeps_the_error() -> None:
    dictionary = TinyDictionary()
    x = torch.randn(9, 32, generator=torch.Generator().manual_seed(0))
    z = dictionary.encode(x)
    latents = z.sum(0).topk(3).indices.numpy()
    clamp = Clamp(Setting(0.01, 3, 4), latents, np.array([-1.0, -2.0, -3.0]))
    found = clamped_change(dictionary, x, z, clamp)
    for token in range(9):
        expected = torch.zeros(32)
        for latent, value in zip(latents, (-1.0, -2.0, -3.0), strict=True):
            if z[token, latent] != 0:
                expected += (value - z[token, latent]) * dictionary.decoder_rows[latent]
        torch.testing.assert_close(found[token], expected, rtol=1e-4, atol=1e-5)


def test_without_a_task_it_has_no_data_and_says_what_is_missing(store: Store) -> None:
    found = measured("unlearning", latents_of(bundled("topk"), store), SIZES, "mine.toml")
    assert {each.status for each in found} == {"no_data"}
    assert {each.reason for each in found} == {"mine.toml has no [[unlearning]] table"}
