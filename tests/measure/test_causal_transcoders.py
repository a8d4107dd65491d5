"""Causal families on a dictionary that writes to another site than it reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pytest_sae.activations.latents import Latents
from pytest_sae.activations.store import Store
from pytest_sae.data.attributes import PrincipledSizes
from pytest_sae.data.entities import RavelSizes
from pytest_sae.data.unlearning import UnlearningSizes
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.measure import ravel
from tests.measure.given import measured
from tests.measure.planted_codes import INFO, model, tasks

READS, WRITES = "blocks.2.hook_resid_pre", "blocks.2.hook_mlp_out"


@pytest.fixture(scope="module")
def latents() -> Latents:
    """A transcoder whose latents are coordinates, and which writes hardly anything."""
    torch.set_num_threads(1)
    one = model()
    rows = 1e-6 * torch.eye(128)
    dictionary = AffineDictionary(torch.relu, rows, torch.zeros(128), None, INFO, "transcoder")
    sites = [one.site(name) for name in (READS, WRITES)]
    return Latents(dictionary, one, sites[0], Store(None), 128, lambda *_: None, sites[1])


def test_a_transcoder_that_writes_nothing_controls_nothing(latents: Latents) -> None:
    sizes = PrincipledSizes(edits=20)
    found = measured("principled", latents, sizes, principled=tasks().principled)
    named = {each.metric: each for each in found}
    control = named["principled.control"]
    assert control.value is None or control.value == pytest.approx(0, abs=1e-3)
    assert named["principled.f1"].value is not None


def test_entities_are_exchanged_where_a_transcoder_writes(latents: Latents) -> None:
    sizes = RavelSizes(20, 1, 20, 20, steps=2)
    asked = ravel.Asked.of(latents, tasks().ravel[0], 0, sizes)
    written = {
        row: x
        for part in asked.prompts.stream
        for row, x in zip(part.batch.rows.tolist(), part.x, strict=True)
    }
    for text in (0, 7):
        own = written[text][asked.prompts.places[text]]
        assert torch.equal(asked.prompts.rows[text], own)
    found = measured("ravel", latents, sizes, ravel=tasks().ravel)
    # One block's MLP alone does not hold the answer.
    assert found[0].status == "unable" or found[0].value == pytest.approx(0, abs=0.1)


def test_a_transcoder_that_writes_nothing_makes_nothing_forgotten(latents: Latents) -> None:
    whole = tasks().unlearning[0]
    few = replace(
        whole,
        forget=whole.forget[:20],
        retain=whole.retain[:20],
        forget_questions=whole.forget_questions[:12],
        retain_questions=whole.retain_questions[:12],
        fingerprint="few",
    )
    found = measured("unlearning", latents, UnlearningSizes(orders=1), unlearning=[few])
    assert found[0].value in (None, 0)
