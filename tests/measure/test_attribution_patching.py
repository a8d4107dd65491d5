"""Attribution patching against finite differences, and against what patching really does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pytest_sae.activations.patching import Prompts
from pytest_sae.data.attributes import AttributeTask
from pytest_sae.errors import DataError
from pytest_sae.measure.attribution_patching import LAST, SiteScore, choose, find, gradients, placed
from pytest_sae.models.load import load as load_model
from pytest_sae.models.tokenize import batches
from tests.measure.planted_codes import bundled, latents_of, model, tasks
from tests.tiny import ARCHS, tiny_model

PROMPTS = ["w1 w2 w3", "w4 w5 w6"]
RIGHT, WRONG = torch.tensor([7, 9]), torch.tensor([8, 30])


@pytest.mark.parametrize("arch", ARCHS)
def test_gradients_are_those_of_finite_differences_at_every_site(arch: str, tmp_path) -> None:
    tiny = load_model(str(tiny_model(tmp_path, arch)), "cpu", torch.float64)
    (batch,) = batches(PROMPTS, tiny.tokenizer, 32, True)
    sites = [tiny.site(f"blocks.{layer}.hook_resid_post") for layer in range(3)]
    found = gradients(tiny, batch, sites, RIGHT, WRONG)
    step = 1e-2  # norms compute in float32 whatever the model does
    for site in sites:
        x, gradient = found[site]
        for place, column in ((1, 4), (3, 20)):
            values = []
            for sign in (1, -1):
                moved = x.clone()
                moved[:, place, column] += sign * step
                logits = tiny.next_logits_from(batch, site, moved)
                texts = torch.arange(2)
                values.append(logits[texts, RIGHT] - logits[texts, WRONG])
            slope = (values[0] - values[1]) / (2 * step)
            torch.testing.assert_close(gradient[:, place, column], slope, rtol=2e-2, atol=1e-3)
    assert all(weight.grad is None for weight in tiny.hf.parameters())


@pytest.fixture(scope="module")
def scores() -> list[SiteScore]:
    names = [f"blocks.{layer}.hook_resid_post" for layer in range(4)]
    return find(model(), tasks().principled[0], 128, True, names, pairs=12)


def of(scores: list[SiteScore], attribute: str) -> dict[tuple[str, str], float]:
    return {(s.site.split(".")[1], s.place): s.share for s in scores if s.attribute == attribute}


def test_the_bundled_model_holds_the_receiver_at_the_last_token_from_block_one_on(
    scores: list[SiteScore],
) -> None:
    shares = of(scores, "indirect_object")
    for layer in "123":
        assert shares[layer, LAST] > 5 * shares[layer, "indirect_object"]
    assert shares["0", "indirect_object"] > shares["0", LAST]


def test_each_attributes_largest_effect_comes_first_and_is_one(scores: list[SiteScore]) -> None:
    for attribute in ("indirect_object", "subject", "order"):
        own = [score for score in scores if score.attribute == attribute]
        assert own[0].share == 1
        assert [s.effect for s in own] == sorted((s.effect for s in own), reverse=True)


def test_places_order_as_patching_the_whole_activation_does(
    scores: list[SiteScore],
) -> None:
    task: AttributeTask = tasks().principled[0]
    shares = of(scores, "indirect_object")
    latents = latents_of(bundled("topk"))
    texts, names = task.fit.texts[:12], [row[0] for row in task.fit.values[:12]]
    moved = {}
    for place in (LAST, "indirect_object"):
        at = []
        for text, name in zip(texts, names, strict=True):
            cut = text if place == LAST else text[: text.rfind(name) + len(name)]
            at.append(len(model().tokenizer(cut, add_special_tokens=False).input_ids))
        prompts = Prompts.of(latents.written(texts), at)
        order = torch.arange(len(texts))
        with torch.no_grad():
            change = prompts.logits(order, prompts.rows.roll(4, 0)) - prompts.logits(order)
        moved[place] = float(change.abs().mean())
    assert moved[LAST] > 5 * moved["indirect_object"]
    assert shares["2", LAST] > 5 * shares["2", "indirect_object"]


def test_the_place_is_where_the_attributes_act_most() -> None:
    site = model().site("blocks.2.hook_resid_post")
    found = choose(model(), tasks().principled[0], site, 128, True)
    assert found.place == LAST
    # The order of two names is no word of the text, and the receiver is not in every one.
    assert set(found.shares) == {LAST, "subject"}
    assert all(0 <= share <= 1 for share in found.shares.values())
    assert found.shares[LAST] > 5 * found.shares["subject"]


def test_a_mean_over_attributes_decides_among_the_places_of_every_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    effects = {
        "indirect_object": {LAST: 1.0, "indirect_object": 0.9, "subject": 0.5},
        "subject": {LAST: 0.1, "indirect_object": 0.9, "subject": 1.0},
        "order": {LAST: 0.2, "subject": 1.0},
    }
    planted = [
        SiteScore(attribute, "here", place, share, share)
        for attribute, shares in effects.items()
        for place, share in shares.items()
    ]
    monkeypatch.setattr("pytest_sae.measure.attribution_patching.find", lambda *_: planted)
    site = model().site("blocks.2.hook_resid_post")
    found = choose(model(), tasks().principled[0], site, 128, True)
    assert found.place == "subject"
    assert found.shares == pytest.approx({LAST: 1.3 / 3, "subject": 2.5 / 3})


def test_a_place_is_chosen_without_the_half_that_is_tested_on() -> None:
    task, site = tasks().principled[0], model().site("blocks.2.hook_resid_post")
    few = replace(task.test, **{
        name: values[:20] for name, values in vars(task.test).items() if values is not None
    })  # fmt: skip
    assert choose(model(), task, site, 128, True) == choose(
        model(), replace(task, test=few), site, 128, True
    )


def test_a_task_that_is_placed_reads_the_words_of_that_attribute() -> None:
    task = replace(tasks().principled[0], automatic=True)
    there = placed(task, "subject")
    number = task.attributes.index("subject")
    assert there.fit.words == tuple(values[number] for values in task.fit.values)
    assert not there.automatic
    assert placed(task, LAST).test.words is None


def test_other_sites_than_the_stream_are_refused_with_what_to_do() -> None:
    with pytest.raises(DataError, match=r'place = "auto".*hook_mlp_out is not in it.*column'):
        choose(model(), tasks().principled[0], model().site("blocks.2.hook_mlp_out"), 128, True)
