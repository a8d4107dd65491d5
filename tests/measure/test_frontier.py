"""Erasure and removal in a session: word deletion, KL, and tasks that have no frontier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pytest_sae.measure.ablated_kl import ablated_kl
from tests.labelled import TASKS, labelled_data
from tests.session.test_session import hooked
from tests.sessions import opened
from tests.tiny import tiny_model, tiny_sae

_NAMED = 'negative = "m", words = ["w12", "w13", "w14", "w15", "w16", "w17", "w18", "w19"] }'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("world")
    tiny_model(directory / "model")
    (directory / "data").mkdir()
    named = TASKS.replace('negative = "m" }', _NAMED)
    labelled_data(directory / "data", per_cell=120).write_text(named)
    tiny_sae(directory / "topk", model=str(directory / "model"))
    return directory


@pytest.mark.parametrize("family", ["erasure", "removal"])
def test_the_family_is_measured_the_same_to_the_bit_cold_and_warm(
    world: Path, tmp_path: Path, family: str
) -> None:
    runs = []
    for _ in range(2):
        session, sae = opened(world, "topk", cache=str(tmp_path / "cache"))
        runs.append([each.estimate for each in session.measure(family, sae)])
    assert runs[0] == runs[1]
    whole, scr, tpp = runs[0]
    assert whole.details["expected"] == scr.details["expected"] == 2
    assert tpp.status == "undefined"
    assert "fewer than four classes" in whole.details["left_out"]["tpp/jobs"]


def test_words_that_a_task_names_are_deleted_as_a_reference(world: Path) -> None:
    session, sae = opened(world, "topk", suite="standard")
    whole = session.measure("erasure", sae)[0].estimate
    assert whole.status == "ok", whole.reason
    curves = whole.details["frontier"]
    assert set(curves) == {"sae", "random", "leace", "mean_difference", "words"}
    (words,) = curves["words"]
    assert words["concepts"] == 1
    assert words["removal"]["value"] > 0.5
    assert [point["n"] for point in curves["sae"]] == [1, 2, 5, 10, 20, 50, 100, 200]


def test_kl_is_that_of_a_plain_hook_on_one_text_at_a_time(world: Path) -> None:
    session, sae = opened(world, "topk")
    texts, chosen = session.tasks.scr[0].test.texts[:5], np.array([3, 7, 40])
    found = ablated_kl(session.latents(sae), texts, 5, [chosen, np.array([], np.int64)])
    total, count = 0.0, 0
    for text in texts:
        ids = torch.tensor([sae.model.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            clean = sae.model.hf(ids).logits[0, 1:-1].log_softmax(-1)

        def ablate(x: torch.Tensor) -> torch.Tensor:
            z = sae.dictionary.encode(x[0, 1:])
            gone = sae.dictionary.contribution(x[0, 1:], z, torch.from_numpy(chosen))
            return torch.cat([x[:, :1], x[:, 1:] - gone], 1)

        with hooked(sae, ablate):
            ablated = sae.model.hf(ids).logits[0, 1:-1].log_softmax(-1)
        total += float((clean.exp() * (clean - ablated)).sum())
        count += len(clean)
    assert found[0] == pytest.approx(total / count, rel=1e-3)
    assert found[0] > 1e-3
    assert found[1] == pytest.approx(0.0, abs=1e-9)


def test_the_report_tells_what_ablation_does_to_the_output(world: Path) -> None:
    session, sae = opened(world, "topk")
    told = session.measure("erasure", sae)[0].estimate.details["kl"]
    assert set(told["nats_per_token"]) == {"5", "50"}
    assert 0 < told["nats_per_token"]["5"] < told["nats_per_token"]["50"]
