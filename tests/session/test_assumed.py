"""Absent metadata mean what the version that trained the SAE did; where it is unknown, both count.

The SAE keeps everything but a token's mean over its dimensions, and the planted model's stream has
one: of the centred stream it explains all, of the stream as it is what the mean leaves.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import DictionaryError
from pytest_sae.models import precision
from pytest_sae.models.load import load as load_model
from pytest_sae.models.site import Site
from pytest_sae.models.tokenize import Batch
from pytest_sae.options import Options
from pytest_sae.session.session import EvalSession, LoadedSAE
from tests.dictionaries.formats import dictionary_learning_files
from tests.labelled import labelled_data
from tests.sessions import options
from tests.tiny import tiny_model

D = 32
HOOK = "blocks.1.hook_resid_post"
CENTRED = torch.eye(D) - torch.ones(D, D) / D
IDS = torch.tensor([[1, 5, 6, 7], [1, 9, 8, 10]])
BATCH = Batch(IDS, torch.ones_like(IDS).bool(), torch.ones_like(IDS).bool(), torch.arange(2))
OUT = Site("transformer.h.2", "output", 2, "transformer.h.2", stream=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("assumed")
    for arch in ("gpt2", "llama"):
        tiny_model(directory / arch, arch)
    tiny_model(directory / "narrow", "gpt2", d=dictionary_learning_files.D)
    (directory / "data").mkdir()
    labelled_data(directory / "data")
    return directory


def sae(
    world: Path, name: str, model: str = "gpt2", kept: torch.Tensor = CENTRED, **config: Any
) -> str:
    """Its latents are the coordinates of what it keeps of x, by their signs."""
    directory = world / name
    directory.mkdir(exist_ok=True)
    w = {
        "W_enc": torch.cat([kept, -kept], 1),
        "W_dec": torch.cat([torch.eye(D), -torch.eye(D)]),
        "b_enc": torch.zeros(2 * D),
        "b_dec": torch.zeros(D),
    }
    save_file({n: t.contiguous() for n, t in w.items()}, directory / "sae_weights.safetensors")
    about = {"model_name": str(world / model), "hook_point": HOOK, "d_in": D, "d_sae": 2 * D}
    (directory / "cfg.json").write_text(json.dumps({**about, "context_size": 128, **config}))
    return str(directory)


def opened(world: Path, line: str, **changes: object) -> tuple[EvalSession, LoadedSAE]:
    session = EvalSession(dataclasses.replace(plain(world), **changes))
    return session, session.load(resolve([line])[0])


def plain(world: Path) -> Options:
    return options(world, data=str(world / "data" / "tasks.toml"))


def explained(world: Path, line: str) -> float:
    session, loaded = opened(world, line)
    measured = {m.key: m.estimate.value for m in session.measure("core", loaded)}
    value = measured["explained_variance"]
    assert value is not None
    return value


def without_mean(world: Path, model: str, texts: list[str]) -> float:
    """1 - Σ d · mean(x)² / Σ |x - mean over tokens|²: what a token's mean costs, by hand."""
    hf = load_model(str(world / model), "cpu")
    x = precision.activations(hf, hf.site(HOOK), texts, prepend_bos=True).double()
    lost = D * x.mean(1).square().sum()
    return float(1 - lost / (x - x.mean(0)).square().sum())


def test_an_sae_of_before_3_19_2_is_measured_on_processed_weights(world: Path) -> None:
    line = sae(world, "old", sae_lens_training_version="2.1.3")
    session, loaded = opened(world, line)
    assert explained(world, line) == pytest.approx(1, abs=1e-9)
    assert loaded.site.view == "centred"
    (remark,) = session.describe()["remarks"]["old"]  # type: ignore[index]
    assert "2.1.3 trained on processed weights" in remark


def test_one_of_a_later_version_is_measured_on_the_weights_as_they_are(world: Path) -> None:
    assert explained(world, sae(world, "new", sae_lens_training_version="3.19.2")) < 0.99


def test_of_an_unknown_version_both_figures_are_told(world: Path) -> None:
    line = sae(world, "unknown")
    with pytest.raises(DictionaryError) as caught:
        opened(world, line)
    texts = list(EvalSession(plain(world)).tasks.corpus.texts[:8])  # type: ignore[union-attr]
    figure = without_mean(world, "gpt2", texts)
    assert figure < 0.99
    assert f"explains {figure:.3f} of the variance of the model as it is" in str(caught.value)
    assert "1.000 of that of the processed one" in str(caught.value)
    assert f"--sae=sae_lens,center_writing_weights=true:{line}, or =false" in str(caught.value)


@pytest.mark.parametrize(("said", "whole"), [("true", True), ("false", False)])
def test_saying_it_by_hand_settles_it(world: Path, said: str, whole: bool) -> None:
    line = f"sae_lens,center_writing_weights={said}:{sae(world, 'unknown')}"
    assert (explained(world, line) > 0.9999) is whole


def test_where_processing_leaves_the_stream_alone_nobody_is_asked(world: Path) -> None:
    """An RMSNorm minds the mean, so that TransformerLens does not centre what is written."""
    session, loaded = opened(world, sae(world, "rms", "llama"))
    assert loaded.site.view == "as it is"
    assert "remarks" not in session.describe()


def test_where_it_makes_no_difference_to_the_sae_nobody_is_asked(world: Path) -> None:
    """One that keeps the mean as well explains all of both."""
    line = sae(world, "whole", kept=torch.eye(D))
    assert explained(world, line) == pytest.approx(1, abs=1e-9)
    assert opened(world, line)[1].site.view == "as it is"


def test_a_shorter_context_than_the_suites_is_told(world: Path) -> None:
    line = sae(world, "short", sae_lens_training_version="5.0.0", context_size=64)
    session, _ = opened(world, line)
    (remark,) = session.describe()["remarks"]["short"]  # type: ignore[index]
    assert remark == "it was trained on texts of 64 tokens, and is measured on texts of up to 128"


def test_the_input_of_a_module_is_read_where_the_buffer_says_so(world: Path) -> None:
    """By a hook of torch's own on the module that the trainer names."""
    trainer = {"submodule_name": "transformer.h.2", "lm_name": str(world / "narrow"), "layer": 2}
    line = dictionary_learning_files.write(world / "dl", "AutoEncoderTopK", **trainer)
    path = line / "config.json"
    config = json.loads(path.read_text())
    config["buffer"]["io"] = "in"
    path.write_text(json.dumps(config))
    _, loaded = opened(world, str(line))
    seen: list[torch.Tensor] = []
    block = loaded.model.hf.transformer.h[2]
    hook = block.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    loaded.model.outputs(BATCH)
    hook.remove()
    x = loaded.model.capture(BATCH, [loaded.site])[loaded.site]
    assert torch.equal(x, seen[0])
    assert not torch.equal(x, loaded.model.capture(BATCH, [OUT])[OUT])
