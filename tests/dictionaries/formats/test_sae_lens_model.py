"""The model that a sae_lens SAE was trained on: its checkpoint, and its processing by version."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.dictionaries.formats.sae_lens_model import ARGUMENT_KEYS, revision, trained
from pytest_sae.dictionaries.formats.sae_lens_settings import PROCESSED, PROCESSING
from pytest_sae.dictionaries.load import load
from pytest_sae.errors import DictionaryError
from pytest_sae.models.processing import NONE, Processing, declared
from tests.dictionaries.conftest import edit_config
from tests.tiny import tiny_sae

ALL = Processing(fold_ln=True, center_writing_weights=True, fold_value_biases=True)
KWARGS = "model_from_pretrained_kwargs"


def done(config: dict[str, Any]) -> Processing:
    return declared(trained(config, config).on)


@pytest.mark.parametrize("version", ["0.0.0", "1.8.0", "2.1.3", "3.0.0", "3.12.5", "3.19.1"])
def test_before_3_19_2_weights_were_processed(version: str) -> None:
    config = {"sae_lens_training_version": version}
    assert done(config) == ALL
    assert version in trained(config, config).remarks[0]
    assert not trained(config, config).perhaps


def test_transformer_lens_does_all_of_it_by_default() -> None:
    from transformer_lens import HookedTransformer

    taken = signature(HookedTransformer.from_pretrained).parameters
    assert {name for name in PROCESSING if taken[name].default} == set(PROCESSED)
    objects = {"model_name", "hf_model", "tokenizer", "from_pretrained_kwargs"}
    assert taken.keys() - declared_arguments() == objects


def declared_arguments() -> set[str]:
    return {*ARGUMENT_KEYS.used, *ARGUMENT_KEYS.harmless, *ARGUMENT_KEYS.told}


@pytest.mark.parametrize("version", ["3.19.2", "3.23.4", "4.0.0", "5.11.0", "6.54.12", "10.0.0"])
def test_since_then_they_were_not(version: str) -> None:
    config = {"sae_lens_training_version": version}
    assert done(config) == NONE
    assert trained(config, config).remarks == ()
    assert not trained(config, config).perhaps


def test_what_is_said_counts_more_than_the_version() -> None:
    config = {"sae_lens_version": "2.0.0", KWARGS: {"center_writing_weights": False}}
    assert done(config) == Processing(fold_ln=True, fold_value_biases=True)


def test_other_classes_of_models_are_not_processed_by_any_version() -> None:
    config = {"sae_lens_version": "2.0.0", "model_class_name": "HookedMamba"}
    assert done(config) == NONE
    assert not trained(config, config).perhaps


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"sae_lens_version": "6.54.12", "sae_lens_training_version": None},  # saved again
        {"sae_lens_version": "main"},
    ],
)
def test_without_the_version_that_trained_it_nothing_is_known(config: dict[str, Any]) -> None:
    assert done(config) == NONE
    assert trained(config, config).perhaps == {
        "fold_ln": True, "center_writing_weights": True, "fold_value_biases": True
    }  # fmt: skip
    said = {**config, KWARGS: {"fold_ln": False, "center_writing_weights": True}}
    assert trained(said, said).perhaps == {"fold_value_biases": True}


def test_transformer_lens_has_these_checkpoints_under_these_names() -> None:
    """Against TransformerLens' own lists; it asks the hub for step{} and checkpoint-{}."""
    from transformer_lens import loading_from_pretrained as theirs

    for model, form, labels in (
        ("EleutherAI/pythia-70m-deduped", "step{}", theirs.PYTHIA_CHECKPOINTS),
        ("pythia-1b-v0", "step{}", theirs.PYTHIA_V0_CHECKPOINTS),
        ("stanford-gpt2-small-a", "checkpoint-{}", theirs.STANFORD_CRFM_CHECKPOINTS),
    ):
        for index in (0, 7, 20, len(labels) - 1, -1):
            for arguments in (
                {"checkpoint_index": index},
                {"checkpoint_value": labels[index]},
                {"checkpoint_label": labels[index]},
            ):
                assert named(model, **arguments) == form.format(labels[index])


def named(model: str, **arguments: Any) -> str | None:
    return revision(model, {KWARGS: arguments}, "my sae")


def test_a_revision_is_one() -> None:
    assert named("anything", revision="step3000", checkpoint_index=None) == "step3000"
    assert named("anything", revision=None) is None


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        ("gpt2", {"checkpoint_index": 3}),
        ("pythia-70m", {"checkpoint_index": 100_000}),
        ("pythia-70m", {"checkpoint_value": 3}),
        ("pythia-70m", {"checkpoint_value": "last"}),
        ("solu-2l", {"checkpoint_index": 3}),
    ],
)
def test_a_checkpoint_that_the_hub_has_not_is_refused(
    model: str, arguments: dict[str, object]
) -> None:
    with pytest.raises(DictionaryError, match="model=owner/model@revision"):
        named(model, **arguments)


def info(
    directory: Path, model: str, arguments: dict[str, object], said: str = ""
) -> DictionaryInfo:
    path = tiny_sae(directory / "sae", model=model)
    edit_config(path, lambda config: config["metadata"].update({KWARGS: arguments}))
    return load(path, settings=[("model", said)] if said else []).info


def test_the_model_is_named_with_its_revision(tmp_path: Path) -> None:
    given = {"revision": "step3000", "center_writing_weights": False}
    assert info(tmp_path, "lab/tiny", given).model == "lab/tiny@step3000"


@pytest.mark.parametrize("path", ["/data/tiny", "./tiny", "~/tiny"])
def test_a_model_on_disk_has_no_revisions(path: str, tmp_path: Path) -> None:
    assert info(tmp_path, path, {"revision": "step3000"}).model == path


def test_two_revisions_of_one_model_are_refused(tmp_path: Path) -> None:
    assert info(tmp_path, "lab/a@step1", {"revision": "step1"}).model == "lab/a@step1"
    with pytest.raises(DictionaryError, match=r"lab/a@step2 and its revision step1"):
        info(tmp_path / "other", "lab/a@step2", {"revision": "step1"})


def test_what_the_user_calls_the_model_counts(tmp_path: Path) -> None:
    given = {"checkpoint_index": 5}
    assert info(tmp_path, "solu-2l", given, "lab/solu@step5").model == "lab/solu@step5"
