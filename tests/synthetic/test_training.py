"""What is trained here is what sae_lens would have saved, and it is trained once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pytest_sae.activations.store import Store
from pytest_sae.synthetic import training
from pytest_sae.synthetic.training import TrainingRecipe, train
from pytest_sae.synthetic.worlds import World, WorldSpec

SPEC = WorldSpec("t", 24, 12, seed=3, most=0.2, least=0.05)
ARCHITECTURES = ("topk", "batchtopk", "matryoshka", "standard", "jumprelu")


@pytest.fixture(scope="module")
def world() -> World:
    return World(SPEC)


def recipe(architecture: str, steps: int = 60) -> TrainingRecipe:
    return TrainingRecipe(architecture, 24, k=3, penalty=0.05, steps=steps, batch=64, pool=512)  # type: ignore[arg-type]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_kept_dictionary_is_the_inference_model_that_sae_lens_saves(
    architecture: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from sae_lens import SAE

    def save(sae: object) -> dict[str, torch.Tensor]:
        sae.save_inference_model(tmp_path / "saved")  # type: ignore[attr-defined]
        return kept(sae)

    kept = training._kept
    monkeypatch.setattr(training, "_kept", save)
    ours = train(world, recipe(architecture), (60,))[60]
    theirs = SAE.load_from_disk(tmp_path / "saved")
    x = world.sample(300, 0, "look").x
    with torch.no_grad():
        torch.testing.assert_close(ours.reconstruct(x), theirs(x), atol=1e-4, rtol=1e-4)
        fires = (ours.encode(x) > 0) == (theirs.encode(x) > 0)
    assert fires.float().mean() > 0.9999


def test_training_recovers_more_and_more(world: World):
    from pytest_sae.synthetic.recovery import recovery

    truth = world.sample(2000, 0, "truth")
    found = train(world, recipe("topk", 600), (20, 600))
    early, late = (recovery(found[step], truth, world.rows).both for step in (20, 600))
    assert late > early + 0.1


def test_a_recipe_is_trained_once_and_gives_the_same_again(world: World, tmp_path: Path):
    store = Store(tmp_path)
    first = train(world, recipe("topk"), (30, 60), store)
    again = train(World(SPEC), recipe("topk"), (30, 60), Store(tmp_path))
    assert store.work.cache_misses == 1
    for step in (30, 60):
        assert first[step].fingerprint == again[step].fingerprint
        assert torch.equal(first[step].decoder_rows, again[step].decoder_rows)
    assert first[30].fingerprint != first[60].fingerprint


def test_training_leaves_the_global_generator_alone(world: World):
    before = torch.get_rng_state()
    train(world, recipe("topk"), (60,))
    assert torch.equal(before, torch.get_rng_state())
