"""An SAE of which some latents are pruned is measured as the one that never had them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_sae.families.registry import cards
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.numbers.keys import metric_key
from tests.labelled import labelled_data
from tests.sessions import opened
from tests.tiny import tiny_model, tiny_sae

PRUNED = [3, 17, 40, 41, 95]  # 5 % of 96
KEPT = [latent for latent in range(96) if latent not in PRUNED]
UNJUDGED = [card.name for card in cards() if not card.judged]
# What no latent that writes nothing can have a part in.
ALIKE = ("explained_variance", "l0", "mse", "ce_recovered", "max_decoder_cosine", "tpp:n=20")
AXES = {"W_enc": 1, "W_dec": 0, "b_enc": 0}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pruned")
    tiny_model(directory / "model")
    (directory / "data").mkdir()
    labelled_data(directory / "data", per_cell=60)
    for name, width in (("pruned", 96), ("without", len(KEPT))):
        tiny_sae(
            directory / name,
            d_sae=width,
            model=str(directory / "model"),
            rescale_acts_by_decoder_norm=True,
        )
    weights = load_file(directory / "pruned" / "sae_weights.safetensors")
    weights["W_dec"][PRUNED] = 0.0
    save_file(weights, directory / "pruned" / "sae_weights.safetensors")
    left = {
        name: tensor.index_select(AXES[name], torch.tensor(KEPT)) if name in AXES else tensor
        for name, tensor in weights.items()
    }
    save_file(left, directory / "without" / "sae_weights.safetensors")
    return directory


def measured(world: Path, name: str, family: str) -> dict[str, Estimate]:
    session, sae = opened(world, name)
    found = [each.estimate for each in session.measure(family, sae)]
    return {metric_key(each.metric, each.params): each for each in found}


@pytest.mark.filterwarnings("error:invalid value", "error:divide by zero")
@pytest.mark.parametrize("family", UNJUDGED)
def test_every_family_measures_it(world: Path, family: str) -> None:
    found, without = (measured(world, name, family) for name in ("pruned", "without"))
    assert found.keys() == without.keys()
    for key, each in found.items():
        assert each.status == without[key].status, each.reason
        assert each.value is None or math.isfinite(each.value), key
        if key in ALIKE and each.value is not None:
            assert each.value == pytest.approx(without[key].value, rel=1e-4), key


def test_the_pruned_latents_are_named_and_dead(world: Path) -> None:
    norm = measured(world, "pruned", "core")["decoder_norm"]
    assert norm.details["zero_rows"] == len(PRUNED)
    assert norm.details["pruned_latents"] == PRUNED
    session, sae = opened(world, "pruned")
    z = session.latents(sae).pooled(session.tasks.corpus.texts).z_max  # type: ignore[union-attr]
    assert not z[:, PRUNED].count_nonzero()
