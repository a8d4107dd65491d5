"""SAEs with one known thing wrong: the doctor names it, and the line that it offers mends it."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_sae import bundled_world
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.doctor.examine import DoctorRequest, Examination, examine
from tests.dictionaries.hub.hub_cache_files import cache, files_in
from tests.doctor import spoiled as spoil
from tests.doctor.spoiled import Spoil, spoiled

WORLD = bundled_world() / "model"
RIGHT, OTHER = "a" * 40, "b" * 40
FACTOR = math.sqrt(128) / 4.06  # 4.06 is the mean norm at the SAEs' site
GOOD = {"topk": 0.88, "batchtopk": 0.88, "relu": 0.82}  # of the variance of ten texts

#: What was done, to which SAE, and what it is called.
SPOILED: dict[str, tuple[str, Spoil, str]] = {
    "layer": ("topk", spoil.at("blocks.3.hook_resid_post"), "wrong layer"),
    "layer by its module": ("relu", spoil.at("model.layers.3"), "wrong layer"),
    "site": ("batchtopk", spoil.at("blocks.2.hook_mlp_out"), "wrong site"),
    "bos": ("topk", spoil.without_bos, "wrong BOS"),
    "norm": ("batchtopk", spoil.as_trained_on(FACTOR), "un-folded norm"),
    "norm of relu": ("relu", spoil.as_trained_on(FACTOR), "un-folded norm"),
    "transposed": ("topk", spoil.transposed("W_enc", "W_dec"), "transposed"),
    "dtype": ("relu", spoil.mislabelled_bits, "wrong dtype"),
    "scaled": ("topk", spoil.times("W_dec", 3), "scaled"),
    "scaled encoder": ("batchtopk", spoil.times("W_enc", 3), "scaled"),
    "permuted": ("topk", spoil.permuted, "permuted decoder"),
    "threshold": ("batchtopk", spoil.thresholdless, "threshold lost"),
}

Look = Callable[..., Examination]


@pytest.fixture
def look(texts: Sequence[str]) -> Look:
    """Examine the one SAE that a value of --sae names."""

    def of(sae: object, **said: Any) -> Examination:
        (spec,) = resolve([str(sae).removeprefix("--sae=")])
        return examine(spec, DoctorRequest(texts, device="cpu", **said))

    return of


def causes(found: Examination) -> list[str]:
    return [each.cause for each in found.findings if each.cause != "refused"]


@pytest.mark.parametrize("name", ["topk", "batchtopk", "relu", "topk-010"])
def test_a_trained_sae_does_not_smell(look: Look, saes: Path, name: str) -> None:
    found = look(saes / name)
    assert found.findings == []
    assert found.measured is not None
    assert found.measured.ev > found.measured.largest > found.measured.of_rank


@pytest.mark.parametrize("done", SPOILED)
def test_what_was_done_is_named(look: Look, saes: Path, tmp_path: Path, done: str) -> None:
    source, how, cause = SPOILED[done]
    found = look(spoiled(saes / source, tmp_path / "sae", how))
    assert causes(found) == [cause]
    (finding,) = (each for each in found.findings if each.cause == cause)
    explained = re.search(r": (0\.\d+)[.,]", finding.says)
    assert explained is not None
    assert float(explained[1]) > GOOD[source]


@pytest.mark.parametrize("done", ["layer", "layer by its module", "norm", "norm of relu"])
def test_the_line_that_is_offered_mends_it(
    look: Look, saes: Path, tmp_path: Path, done: str
) -> None:
    source, how, _ = SPOILED[done]
    line = look(spoiled(saes / source, tmp_path / "sae", how)).findings[0].line
    mended = look(line)
    assert mended.findings == []
    assert mended.measured is not None
    assert mended.measured.ev > GOOD[source]


def test_one_per_cent_of_training_is_told_from_other_causes(look: Look, saes: Path) -> None:
    assert causes(look(saes / "topk-001")) == ["hardly trained"]


def test_random_weights_are_told_from_hardly_trained_ones(look: Look, saes: Path) -> None:
    assert causes(look(saes / "random")) == ["random weights"]


def other_model(directory: Path) -> Path:
    """A model of the same architecture, width and tokenizer, with other weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    shutil.copytree(WORLD, directory)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(WORLD))
    model.float().save_pretrained(directory)
    return directory


def test_another_revision_of_the_model_is_found_in_the_cache(
    look: Look, saes: Path, tmp_path: Path, home: Path
) -> None:
    cache(home, "lab/tiny", files_in(other_model(tmp_path / "step0")), commit=OTHER)
    cache(home, "lab/tiny", files_in(WORLD), commit=RIGHT, ref="step1600")
    found = look(spoiled(saes / "topk", tmp_path / "sae", spoil.on("lab/tiny")))
    assert causes(found) == ["wrong revision"]
    assert found.findings[0].line == "--sae-model=lab/tiny@step1600"
    assert look(tmp_path / "sae", model="lab/tiny@step1600").findings == []


def test_another_model_of_the_same_width_is_found_in_the_cache(
    look: Look, saes: Path, tmp_path: Path, home: Path
) -> None:
    cache(home, "lab/wrong", files_in(other_model(tmp_path / "other")), commit=OTHER)
    cache(home, "lab/right", files_in(WORLD), commit=RIGHT)
    found = look(spoiled(saes / "batchtopk", tmp_path / "sae", spoil.on("lab/wrong")))
    assert causes(found) == ["wrong model"]
    assert found.findings[0].line == "--sae-model=lab/right@main"


def test_another_model_that_nobody_has_is_told_from_bad_training(
    look: Look, saes: Path, tmp_path: Path, home: Path
) -> None:
    other = other_model(tmp_path / "other")
    sae = spoiled(saes / "relu", tmp_path / "sae", spoil.on(str(other)))
    assert causes(look(sae)) == ["another model or revision"]
    named = look(sae, try_models=[str(WORLD)])
    assert causes(named) == ["wrong model"]
    assert named.findings[0].line == f"--sae-model={WORLD}"


def test_processed_weights_are_told_where_the_model_has_layer_norms(
    look: Look, tmp_path: Path
) -> None:
    model = off_centre_model(tmp_path / "gpt2")
    # Exact on centred activations, so that all of what is unexplained is the mean.
    centre = torch.eye(64) - torch.ones(64, 64) / 64
    tensors = {
        "W_enc": torch.cat([centre, -centre], 1),
        "W_dec": torch.cat([torch.eye(64), -torch.eye(64)]),
        "b_enc": torch.zeros(128),
        "b_dec": torch.zeros(64),
    }
    metadata = {
        "model_name": str(model),
        "hook_name": "blocks.2.hook_resid_post",
        "model_class_name": "HookedTransformer",
        "model_from_pretrained_kwargs": {"center_writing_weights": False},
        "prepend_bos": True,
        "sae_lens_version": "6.54.12",
    }
    config = {
        "architecture": "standard",
        "d_in": 64,
        "d_sae": 128,
        "dtype": "float32",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "metadata": metadata,
    }
    sae = tmp_path / "sae"
    written(sae, tensors, config)
    found = look(sae)
    assert causes(found) == ["processed weights"]
    assert "center_writing_weights=true" in found.findings[0].line
    mended = look(found.findings[0].line)
    assert mended.findings == []
    assert mended.measured is not None
    assert mended.measured.ev == pytest.approx(1, abs=1e-4)


def off_centre_model(directory: Path) -> Path:
    """A GPT-2 whose embedding has a mean of its own for every token."""
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    tokenizer = AutoTokenizer.from_pretrained(WORLD)
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        config = GPT2Config(
            vocab_size=len(tokenizer), n_embd=64, n_layer=4, n_head=4, n_positions=192, **ids
        )
        model = GPT2LMHeadModel(config)
        model.transformer.wte.weight += 0.05 * torch.randn(len(tokenizer), 1)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def written(directory: Path, tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    directory.mkdir()
    save_file(
        {n: t.contiguous() for n, t in tensors.items()}, directory / "sae_weights.safetensors"
    )
    (directory / "cfg.json").write_text(json.dumps(config))


@pytest.mark.parametrize("turned", [("W_dec",), ("W_enc",)])
def test_a_square_matrix_that_lies_the_wrong_way_is_turned_round(
    look: Look, saes: Path, tmp_path: Path, turned: tuple[str, ...]
) -> None:
    found = look(spoiled(rotation(saes, tmp_path / "square"), tmp_path / "sae",
                         spoil.transposed(*turned)))  # fmt: skip
    assert causes(found) == ["transposed"]
    assert "W_enc transposed" in found.findings[-1].says or (
        "W_dec transposed" in found.findings[-1].says  # of a rotation, either makes it whole
    )
    assert look(tmp_path / "square").findings == []


def rotation(saes: Path, directory: Path) -> Path:
    """An SAE as wide as its site, in which no matrix looks transposed: of a rotation's rows."""
    tensors, config = spoil.whole(saes / "topk")
    generator = torch.Generator().manual_seed(0)
    rows = torch.linalg.qr(torch.randn(128, 128, generator=generator)).Q
    written(
        directory,
        {
            "W_enc": rows.T,
            "W_dec": rows,
            "b_enc": torch.zeros(128),
            "b_dec": tensors["b_dec"],
        },
        {
            **spoil.with_metadata(config, l0=64),
            "architecture": "abstopk",
            "d_sae": 128,
            "k": 64,
        },
    )
    return directory


def test_a_type_in_which_activations_overflow_is_told(
    look: Look, saes: Path, tmp_path: Path
) -> None:
    """The same model and SAE on a stream that is 100 000 times as large."""
    large = 1e5
    shutil.copytree(WORLD, tmp_path / "large")
    weights = load_file(WORLD / "model.safetensors")
    for name, tensor in weights.items():
        if name.endswith(("embed_tokens.weight", "o_proj.weight", "down_proj.weight")):
            weights[name] = tensor.float() * large
    save_file(weights, tmp_path / "large" / "model.safetensors", {"format": "pt"})
    tensors, config = spoil.as_trained_on(large)(*spoil.whole(saes / "relu"))
    config = spoil.with_metadata(config, model_name=str(tmp_path / "large"))
    written(tmp_path / "sae", tensors, config)
    found = look(tmp_path / "sae", dtype="float16")
    assert causes(found) == ["wrong dtype"]
    assert found.findings[-1].line == "--sae-dtype=float32"
    assert look(tmp_path / "sae").findings == []
