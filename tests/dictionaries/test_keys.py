"""Every key of a configuration is used, harmless, told in the report, or refused with a way out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pytest_sae.dictionaries.formats import NAMES, registry, sparsify
from pytest_sae.dictionaries.formats.dictionary_learning_keys import KEYS as DICTIONARY_LEARNING
from pytest_sae.dictionaries.formats.sae_lens_keys import KEYS as SAE_LENS
from pytest_sae.dictionaries.keys import Keys, Refused, concerns, remarks
from pytest_sae.dictionaries.load import load
from pytest_sae.errors import DictionaryError
from tests.dictionaries import keys_document
from tests.dictionaries.conftest import edit_config
from tests.dictionaries.contents import content
from tests.dictionaries.formats import sae_lens_files
from tests.dictionaries.formats.upstream import submodule
from tests.tiny import SAE_ARCHS, tiny_sae

PLANTED = Keys(
    used=("k",),
    harmless=("lr",),
    told={"rounded": "it was rounded"},
    refused={"slice": Refused(((None,), (1, None)), "parts alone count", "say part=")},
    inside={"deep": Keys(used=("k",), strict=True)},
)


def said(config: Mapping[str, Any], **settings: str) -> tuple[str, ...]:
    return remarks(content({}, config, **settings), PLANTED, "mine")


def refusal(config: Mapping[str, Any], **settings: str) -> str:
    with pytest.raises(DictionaryError) as caught:
        said(config, **settings)
    return str(caught.value)


def test_keys_that_are_declared_or_say_nothing_are_silent() -> None:
    nothing = {"unheard": None, "norm_of_it": [], "model": "", "deep": {"k": 2, "other": {}}}
    assert said({"k": 1, "lr": 3, "rounded": False, "slice": [1, None], **nothing}) == ()


def test_a_key_that_nobody_knows_is_told() -> None:
    (remark,) = said({"flavour": "vanilla"})
    assert remark.startswith("flavour = 'vanilla' is no key that mine is known to have")


def test_a_key_that_means_something_is_told_with_what_it_means() -> None:
    assert said({"rounded": 8}) == ("rounded = 8: it was rounded",)


@pytest.mark.parametrize("name", ["model_revision", "hookLayer", "input_scale", "bos", "ctxLen"])
def test_an_unknown_key_about_data_model_or_scaling_is_refused(name: str) -> None:
    message = refusal({name: 3})
    assert f"my sae declares {name} = 3" in message
    assert f"--sae=mine,ignore={name}:my sae" in message
    assert said({name: 3}, ignore=name) == (f"{name} = 3 is taken for harmless, as --sae says",)


def test_a_refused_key_says_what_is_fine_and_what_to_do() -> None:
    message = refusal({"slice": [2, None]})
    assert "slice = [2, None]: parts alone count" in message
    assert "Expected [None] or [1, None]: say part=, or" in message


def test_several_keys_are_ignored_by_their_names_or_their_places() -> None:
    config = {"slice": 5, "deep": {"unheard": 1}}
    assert "deep.unheard" in refusal(config, ignore="slice")
    assert len(said(config, ignore="slice+deep.unheard")) == 2
    assert len(said(config, ignore="slice+unheard")) == 2


def test_a_name_that_would_draw_in_a_terminal_is_quoted() -> None:
    (remark,) = said({"\x1b[31mred": 1})
    assert "\x1b" not in remark


@pytest.mark.parametrize(
    "name", ["n_epochs", "norm_loss_coefficient", "lr_scale", "total_tokens", "data_seed", "notes"]
)
def test_names_of_training_alone_concern_nothing(name: str) -> None:
    assert not concerns(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_family_declares_its_keys(name: str) -> None:
    keys = registry.family(name).KEYS
    declared = [*keys.used, *keys.harmless, *keys.told, *keys.refused]
    assert isinstance(keys, Keys)
    assert all(isinstance(each, str) and each.strip() == each for each in declared)


def test_the_page_of_formats_says_what_is_done_about_keys() -> None:
    page = Path(__file__).parents[2] / "docs" / "formats.md"
    assert page.read_text().endswith(keys_document.document())


def declared(keys: Keys) -> set[str]:
    return {*keys.used, *keys.harmless, *keys.told, *keys.refused, *keys.inside}


def test_every_field_of_sae_lens_configurations_is_declared() -> None:
    from sae_lens import registry as theirs
    from sae_lens.loading.pretrained_sae_loaders import LLM_METADATA_KEYS
    from sae_lens.saes.sae import SAE  # noqa: F401  (registers the classes)

    found = {
        field.name for _, config in theirs.SAE_CLASS_REGISTRY.values() for field in fields(config)
    }
    assert found <= declared(SAE_LENS)
    assert declared(SAE_LENS.inside["metadata"]) >= LLM_METADATA_KEYS
    training = {
        field.name
        for _, config in theirs.SAE_TRAINING_CLASS_REGISTRY.values()
        for field in fields(config)
    }
    details = SAE_LENS.inside["metadata"].inside["training_architecture_details"]
    assert training - found <= declared(details) | declared(SAE_LENS)


def test_every_field_of_sparsify_configurations_is_declared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = submodule(monkeypatch, "sparsify.config")
    for each in (config.SparseCoderConfig, config.TrainConfig):
        assert {field.name for field in fields(each)} <= declared(sparsify.KEYS)


def test_every_key_of_dictionary_learning_trainers_is_declared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = submodule(monkeypatch, "dictionary_learning.trainers.trainer")
    keys = declared(DICTIONARY_LEARNING.inside["trainer"])
    buffer = declared(DICTIONARY_LEARNING.inside["buffer"])
    for file in Path(package.__file__).parent.glob("*.py"):
        assert set(_of_config(file)) <= keys | {"wandb_name"}, file.name
    assert set(_of_config(Path(package.__file__).parents[1] / "buffer.py")) <= buffer


def _of_config(file: Path) -> Iterator[str]:
    """The keys that a module's `config` properties return."""
    import ast

    for function in ast.walk(ast.parse(file.read_text())):
        if isinstance(function, ast.FunctionDef) and function.name == "config":
            for each in ast.walk(function):
                keys = each.keys if isinstance(each, ast.Dict) else ()
                yield from (key.value for key in keys if isinstance(key, ast.Constant))


@pytest.mark.parametrize("arch", SAE_ARCHS)
def test_what_sae_lens_saves_leaves_no_remark(arch: str, tmp_path: Path) -> None:
    assert load(tiny_sae(tmp_path / "sae", arch)).info.remarks == ()


@pytest.mark.parametrize("arch", sae_lens_files.RARE)
def test_what_sae_lens_saves_of_rarer_architectures_leaves_no_remark(
    arch: str, tmp_path: Path
) -> None:
    assert load(sae_lens_files.write(tmp_path / "sae", arch)).info.remarks == ()


@pytest.mark.parametrize(
    ("slices", "fine"),
    [
        ([None], True),
        ([None, None, None], True),
        ([1, None], True),
        ([5, None], False),
        ([None, 64], False),
        ([None, None, 2], False),
    ],
)
def test_positions_that_are_not_measured_alone_are_refused(
    slices: list[int | None], fine: bool, tmp_path: Path
) -> None:
    path = tiny_sae(tmp_path / "sae")
    edit_config(path, lambda config: config["metadata"].update(seqpos_slice=slices))
    if fine:
        assert load(path).info.remarks == ()
        return
    with pytest.raises(DictionaryError, match=r"seqpos_slice = .*ignore=seqpos_slice"):
        load(path)
    (remark,) = load(path, settings=[("ignore", "seqpos_slice")]).info.remarks
    assert "taken for harmless" in remark


def test_arguments_of_the_model_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    path = tiny_sae(tmp_path / "sae")
    arguments = {"center_writing_weights": False, "device": "cuda", "subfolder": "x"}
    edit_config(
        path, lambda config: config["metadata"].update(model_from_pretrained_kwargs=arguments)
    )
    with pytest.raises(DictionaryError, match=r"kwargs\.subfolder = 'x'.*ignore=subfolder"):
        load(path)


def test_a_whole_run_of_the_first_versions_leaves_no_remark(tmp_path: Path) -> None:
    path = tiny_sae(tmp_path / "sae", "standard")
    (path / "cfg.json").write_text(json.dumps(GPT2_SMALL))
    (remark,) = load(path).info.remarks or ("",)
    assert remark == ""


# Of jbloom/GPT2-Small-SAEs-Reformatted, with the sizes of a tiny one.
GPT2_SMALL: dict[str, object] = {
    "model_name": "gpt2-small", "hook_point": "blocks.8.hook_resid_pre", "hook_point_layer": 8,
    "hook_point_head_index": None, "dataset_path": "Skylion007/openwebtext",
    "is_dataset_tokenized": False, "context_size": 128, "use_cached_activations": False,
    "cached_activations_path": "activations/x", "d_in": 32, "n_batches_in_buffer": 128,
    "total_training_tokens": 300000000, "store_batch_size": 32, "device": "mps", "seed": 42,
    "dtype": "torch.float32", "b_dec_init_method": "geometric_median", "expansion_factor": 3,
    "from_pretrained_path": None, "l1_coefficient": 8e-05, "lr": 0.0004,
    "lr_scheduler_name": None, "lr_warm_up_steps": 5000, "train_batch_size": 4096,
    "use_ghost_grads": False, "feature_sampling_window": 1000, "feature_sampling_method": None,
    "resample_batches": 1028, "feature_reinit_scale": 0.2, "dead_feature_window": 5000,
    "dead_feature_estimation_method": "no_fire", "dead_feature_threshold": 1e-06,
    "log_to_wandb": True, "wandb_project": "gpt2", "wandb_entity": None,
    "wandb_log_frequency": 100, "n_checkpoints": 10, "checkpoint_path": "checkpoints/y1t51byy",
    "d_sae": 96, "tokens_per_buffer": 67108864, "run_name": "24576-L1-8e-05",
}  # fmt: skip
