"""A whole session on an encoder: it predicts no next token, and all else is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_sae.measure import autointerp, scr_and_tpp, shift
from pytest_sae.measure.given import Given
from pytest_sae.measure.logit_lens import top_tokens
from pytest_sae.models.model import NO_PREDICTION
from tests.labelled import labelled_data
from tests.measure.given import given_of
from tests.measure.planted_judge import PlantedJudge, constantly
from tests.measure.test_autointerp import SIZES
from tests.measure.test_shift import everything
from tests.models.encoder import tiny_encoder
from tests.sessions import opened
from tests.tiny import tiny_sae

PREDICTED = {
    "ce_clean", "ce_spliced", "ce_mean_ablated", "ce_zero_ablated", "kl", "ce_recovered",
    "ce_recovered.zero",
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("world"), per_cell=60)


def written(directory: Path, per_cell: int, **config: Any) -> Path:
    model = tiny_encoder(directory / "model", **config)
    (directory / "data").mkdir()
    labelled_data(directory / "data", per_cell=per_cell)
    tiny_sae(directory / "topk", model=str(model))
    return directory


def test_all_but_predictions_is_measured(tmp_path: Path) -> None:
    # Small weights leave words as they are, and many texts leave no doubt: probes surely learn.
    world = written(tmp_path, per_cell=250, initializer_range=0.02)
    session, sae = opened(world, "topk", suite="standard")
    for family in ("core", "scr", "tpp"):
        for each in session.measure(family, sae):
            estimate = each.estimate
            if estimate.metric in PREDICTED:
                assert (estimate.status, estimate.reason) == ("not_applicable", NO_PREDICTION)
            else:
                assert estimate.value is not None, estimate


def test_what_is_pooled_is_what_one_text_at_a_time_gives(world: Path) -> None:
    session, sae = opened(world, "topk")
    texts = session.tasks.scr[0].test.texts
    found = session.latents(sae).pooled(texts)
    for row, text in enumerate(texts):
        ids = torch.tensor([sae.model.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            states = sae.model.hf(ids, output_hidden_states=True).hidden_states
        x = states[2][0, 1:-1]  # after block 1, without [CLS] and [SEP]
        z = sae.dictionary.encode(x).mean(0).numpy()
        np.testing.assert_allclose(found.x[row], x.mean(0).numpy(), atol=1e-5)
        np.testing.assert_allclose(found.z[[row]].toarray()[0], z, atol=1e-4)


def test_shift_shows_latents_without_promoted_tokens(world: Path) -> None:
    session, sae = opened(world, "topk")
    latents, judge = session.latents(sae), everything()
    found = {
        each.metric: each
        for each in shift.measure(Given(latents, session.tasks, 0, {"fits": 2}, judge))
    }
    assert judge.asked
    assert top_tokens(latents, [0, 1]) == [(), ()]
    assert found["shift"].status in ("ok", "unable")
    assert NO_PREDICTION not in {each.reason for each in found.values()}
    task = session.tasks.scr[0]
    view = scr_and_tpp.PooledTask.of(
        latents, scr_and_tpp.erasure_texts(session.tasks), task.train.texts, task.test.texts
    )
    assert view.x_test.shape == (len(task.test.texts), 32)


def test_autointerp_leaves_out_the_intervention_and_says_why(world: Path) -> None:
    session, sae = opened(world, "topk")
    texts = session.tasks.corpus.texts
    sizes = replace(SIZES, evidence=replace(SIZES.evidence, width=4))
    found = {
        each.metric: each
        for each in autointerp.scored(
            given_of(session.latents(sae), corpus=texts, judge=PlantedJudge(constantly(1))), sizes
        )
    }
    intervention = found["autointerp.intervention"]
    assert (intervention.status, intervention.reason) == ("not_applicable", NO_PREDICTION)
    assert found["autointerp.detection"].value == pytest.approx(0.5, abs=0.1)
    assert found["autointerp.failed"].value == 0
