"""What must not be evaluated is refused, with what was found, what was expected, what to do."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.preflight import require_site
from pytest_sae.errors import DictionaryError
from tests.dictionaries.conftest import edit_config, edit_weights

Copy = Callable[..., Path]


def refusal(path: Path) -> str:
    with pytest.raises(DictionaryError) as caught:
        load(path)
    message = str(caught.value)
    assert "Expected" in message, message
    assert str(path) in message, message
    return message


def test_a_directory_without_a_dictionary(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("hello")
    assert "it holds README.md" in refusal(tmp_path)


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize("lost", ["cfg.json", "sae_weights.safetensors"])
def test_a_directory_that_lost_one_of_its_files(copy_of: Copy, lost: str) -> None:
    directory = copy_of("topk")
    (directory / lost).unlink()
    assert f"but no {lost}" in refusal(directory)


def test_a_directory_with_two_candidates_lists_them(copy_of: Copy, tmp_path: Path) -> None:
    copy_of("topk", "saes/a")
    copy_of("topk", "saes/b")
    message = refusal(tmp_path / "saes")
    assert "2 candidates" in message
    assert str(tmp_path / "saes/a") in message
    assert str(tmp_path / "saes/b") in message
    assert f"'{tmp_path / 'saes' / '*'}'" in message


def test_a_directory_with_one_candidate_means_that_one(copy_of: Copy, tmp_path: Path) -> None:
    copy_of("topk", "run/final")
    assert load(tmp_path / "run").d_sae == 96


@pytest.mark.parametrize("name", ["W_dec", "b_enc"])
@pytest.mark.parametrize(("value", "said"), [(float("nan"), "2 NaN"), (float("-inf"), "2 Inf")])
def test_weights_that_are_not_finite(copy_of: Copy, name: str, value: float, said: str) -> None:
    def spoil(weights: dict[str, Any]) -> None:
        weights[name].view(-1)[3:5] = value

    message = refusal(edit_weights(copy_of("topk"), spoil))
    assert re.search(rf"{name} \(.*{said}", message)


@pytest.mark.parametrize(
    ("k", "said"),
    [(97, "from 1 to 96"), (0, "k = 0"), (-1, "k = -1"), (6.5, "k = 6.5"), (None, "k = None")],
)
def test_an_impossible_k(copy_of: Copy, k: object, said: str) -> None:
    assert said in refusal(edit_config(copy_of("topk"), lambda config: config.update(k=k)))


def test_a_missing_k_is_not_taken_for_100(copy_of: Copy) -> None:
    assert "no k" in refusal(edit_config(copy_of("topk"), lambda config: config.pop("k")))


@pytest.mark.parametrize("size", ["d_in", "d_sae"])
def test_a_missing_size(copy_of: Copy, size: str) -> None:
    directory = edit_config(copy_of("topk"), lambda config: config.pop(size))
    assert f"no {size}" in refusal(directory)


@pytest.mark.parametrize(
    "kind", ["expected_average_only_in", "covariance_whitening", "unheard", True, None]
)
def test_a_normalisation_that_is_not_folded(copy_of: Copy, kind: object) -> None:
    directory = copy_of("topk")
    edit_config(directory, lambda config: config.update(normalize_activations=kind))
    assert f"normalize_activations = {kind!r}" in refusal(directory)


@pytest.mark.parametrize(("length", "state"), [(4.0, "folded"), (1.0, "unfolded")])
def test_a_factor_that_may_be_folded_already_is_refused_with_what_tells(
    copy_of: Copy, length: float, state: str
) -> None:
    """The runners of sae_lens 3 folded it and saved the setting that they had begun with."""
    directory = copy_of("standard")
    folded = {"normalize_activations": "expected_average_only_in"}
    edit_config(directory, lambda config: config.update(folded))
    edit_weights(directory, lambda weights: scale(weights, length))
    message = refusal(directory)
    assert f"here they have {length:.3g} on average, as if it were {state}." in message
    assert f"--sae=sae_lens,normalize_activations=none:{directory}" in message
    assert f"--sae=sae_lens,norm_factor=F:{directory}" in message
    assert load(directory, settings=[("normalize_activations", "none")]).d_sae == 96


def scale(weights: dict[str, Any], length: float) -> None:
    rows = weights["W_dec"]
    weights["W_dec"] = length * rows / rows.norm(dim=1, keepdim=True)


def test_a_checkpoint_of_before_its_factor_says_so(copy_of: Copy) -> None:
    directory = copy_of("standard")
    edit_config(
        directory, lambda config: config.update(normalize_activations="expected_average_only_in")
    )
    scaler = {"scaling_factor": None, "has_whitening": False}
    (directory / "activation_scaler.json").write_text(json.dumps(scaler))
    assert "has no scaling_factor: it is from before" in refusal(directory)


def test_a_whitened_checkpoint_is_told_what_folds_it(copy_of: Copy) -> None:
    """The line of the message is followed with sae_lens itself."""
    directory = copy_of("standard")
    edit_config(
        directory, lambda config: config.update(normalize_activations="covariance_whitening")
    )
    message = refusal(directory)
    assert "fold_activation_whitening(mean, matrix, inverse_matrix)" in message
    assert "activation_whitening.safetensors" in message
    from sae_lens import StandardTrainingSAE
    from sae_lens.constants import ACTIVATION_WHITENING_FILENAME

    assert ACTIVATION_WHITENING_FILENAME in message
    assert callable(StandardTrainingSAE.fold_activation_whitening)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 123456\n"


@pytest.mark.parametrize("name", ["sae_weights.safetensors", "cfg.json"])
def test_a_pointer_of_git_lfs_is_called_one(copy_of: Copy, name: str) -> None:
    directory = copy_of("topk")
    (directory / name).write_bytes(POINTER)
    message = refusal(directory)
    assert f"{directory / name} is a pointer of git-lfs to a file of 123,456 bytes" in message
    assert "git lfs pull" in message


@pytest.mark.parametrize("name", ["ae.pt", "a.pth", "params.npz", "a-00001-of-00001.safetensors"])
def test_a_pointer_is_one_whatever_file_it_stands_for(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(POINTER)
    index = {"weight_map": {"W_dec": name}}
    (tmp_path / "a.safetensors.index.json").write_text(json.dumps(index))
    assert "is a pointer of git-lfs" in refusal(tmp_path / name)


@pytest.mark.parametrize("family", ["sparsify", "sae_lens", "llama_scope", "batch_topk"])
def test_a_family_that_is_forced_without_a_configuration_says_where_it_goes(
    copy_of: Copy, tmp_path: Path, family: str
) -> None:
    alone = copy_of("topk") / "sae_weights.safetensors"
    alone = alone.rename(tmp_path / "alone.safetensors")
    with pytest.raises(DictionaryError) as caught:
        load(alone, family=family)
    message = str(caught.value)
    assert f"said to be of the family {family}, and comes without the configuration" in message
    assert "copy it beside the weights under the name of its format (cfg.json" in message
    assert "--sae=weights_only,activation=topk,k=32,apply_b_dec_to_input=" in message


def test_an_old_boolean_normalisation(copy_of: Copy) -> None:
    def age(config: dict[str, Any]) -> None:
        config.pop("metadata")
        config.update(normalize_activations=True, hook_name="h", model_name="m")

    assert "expected_average_only_in" in refusal(edit_config(copy_of("standard"), age))


@pytest.mark.parametrize(
    "old",
    [
        {"activation_fn_str": "tanh-relu"},
        {"activation_fn_str": "relu", "finetuning_scaling_factor": True},
        {"activation_fn_str": "topk"},
        {"activation_fn_str": "topk", "activation_fn_kwargs": {}},
    ],
)
def test_an_old_configuration_that_sae_lens_would_read_as_another_sae(
    copy_of: Copy, old: dict[str, object]
) -> None:
    def age(config: dict[str, Any]) -> None:
        config.clear()
        config.update(d_in=32, d_sae=96, hook_name="h", model_name="m", **old)

    assert refusal(edit_config(copy_of("standard"), age))


@pytest.mark.parametrize(
    "text", ["", "{", '{"d_in": 32', "[1, 2]", "null", "\x00\xff", "[" * 100_000]
)
def test_a_configuration_that_is_no_json_object(copy_of: Copy, text: str) -> None:
    directory = copy_of("topk")
    (directory / "cfg.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DictionaryError, match=r"cfg\.json (is no JSON|holds a JSON)"):
        load(directory)


@pytest.mark.parametrize("keep", [0, 4, 100, -1, -1000])
def test_truncated_weights(copy_of: Copy, keep: int) -> None:
    weights = copy_of("topk") / "sae_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(DictionaryError, match="no readable safetensors"):
        load(weights.parent)


def test_weights_of_another_shape(copy_of: Copy) -> None:
    directory = edit_config(copy_of("topk"), lambda config: config.update(d_in=64))
    message = refusal(directory)
    assert "has the shape" in message
    assert "64" in message


def test_missing_and_unknown_tensors_are_named(copy_of: Copy) -> None:
    def spoil(weights: dict[str, Any]) -> None:
        weights["W_extra"] = weights.pop("b_enc")

    message = refusal(edit_weights(copy_of("topk"), spoil))
    assert "missing b_enc, unknown W_extra" in message


def test_quantised_weights(copy_of: Copy) -> None:
    directory = copy_of("topk")
    edit_weights(directory, lambda w: w.update(W_enc=w["W_enc"].to(torch.int8)))
    assert "torch.int8" in refusal(directory)


def test_a_scaling_factor_of_ones_is_nothing_and_any_other_is_refused(copy_of: Copy) -> None:
    directory = copy_of("topk")
    plain = load(directory).fingerprint
    edit_weights(directory, lambda w: w.update(scaling_factor=torch.ones(96)))
    assert load(directory).fingerprint == plain
    edit_weights(directory, lambda w: w.update(scaling_factor=torch.full((96,), 2.0)))
    assert "scaling_factor" in refusal(directory)


@pytest.mark.parametrize("architecture", ["transformer", "batch_topk", None, ["topk"]])
def test_an_unknown_architecture_lists_the_known(copy_of: Copy, architecture: object) -> None:
    directory = copy_of("topk")
    edit_config(directory, lambda config: config.update(architecture=architecture))
    message = refusal(directory)
    assert repr(architecture) in message
    for known in ("abstopk", "gated", "jumprelu", "matching_pursuit", "skip_transcoder", "topk"):
        assert f"{known}, " in message


def test_a_training_checkpoint_says_how_to_save_it(copy_of: Copy) -> None:
    directory = copy_of("batchtopk")
    edit_config(directory, lambda config: config.update(architecture="batchtopk"))
    assert "save_inference_model" in refusal(directory)


def test_negative_thresholds(copy_of: Copy) -> None:
    def spoil(weights: dict[str, Any]) -> None:
        weights["threshold"][:5] = -1

    message = refusal(edit_weights(copy_of("jumprelu"), spoil))
    assert "5 of 96 thresholds below 0 (least -1)" in message


def test_a_decoder_of_zeros(copy_of: Copy) -> None:
    message = refusal(edit_weights(copy_of("topk"), lambda w: w["W_dec"].zero_()))
    assert "all 96 decoder rows are zero" in message


@pytest.mark.parametrize(("pruned", "accepted"), [(48, True), (49, False)])
def test_a_decoder_most_of_whose_rows_are_zero(copy_of: Copy, pruned: int, accepted: bool) -> None:
    directory = edit_weights(copy_of("topk"), lambda w: w["W_dec"][:pruned].zero_())
    if accepted:
        assert load(directory).d_sae == 96
    else:
        assert "49 of 96 decoder rows are zero. Expected 50% at most" in refusal(directory)


def test_one_zero_row_is_a_dead_latent(copy_of: Copy) -> None:
    assert load(edit_weights(copy_of("topk"), lambda w: w["W_dec"][4].zero_())).d_sae == 96


@pytest.mark.parametrize("name", ["model_name", "hook_name"])
def test_metadata_without_model_or_site_loads_and_is_refused_when_needed(
    copy_of: Copy, name: str
) -> None:
    directory = edit_config(copy_of("topk"), lambda config: config["metadata"].pop(name))
    info = load(directory).info
    assert None in (info.model, info.hook_in)
    with pytest.raises(DictionaryError, match=rf"does not declare {name}\. Expected .*add them"):
        require_site(info)


def test_metadata_that_is_missing_altogether(copy_of: Copy) -> None:
    directory = edit_config(copy_of("standard"), lambda config: config.pop("metadata"))
    with pytest.raises(DictionaryError, match="model_name and hook_name"):
        require_site(load(directory).info)


@pytest.mark.parametrize("metadata", [[], "text", {"model_name": 3}])
def test_metadata_of_another_type(copy_of: Copy, metadata: object) -> None:
    directory = copy_of("topk")
    edit_config(directory, lambda config: config.update(metadata=metadata, sae_lens_version="6.1"))
    if metadata:
        assert refusal(directory)
    else:
        assert load(directory).info.model is None


def test_what_was_done_to_the_model_is_passed_on(copy_of: Copy) -> None:
    declared = {
        "model_class_name": "HookedTransformer",
        "model_from_pretrained_kwargs": {"center_writing_weights": True},
        "hook_head_index": 3,
    }
    directory = edit_config(copy_of("topk"), lambda config: config["metadata"].update(declared))
    info = load(directory).info
    assert info.head == declared.pop("hook_head_index")
    assert info.trained_on == declared


@pytest.mark.parametrize("head", [-1, True, "3", 1.5])
def test_a_head_that_is_no_index(copy_of: Copy, head: object) -> None:
    directory = copy_of("topk")
    edit_config(directory, lambda config: config["metadata"].update(hook_head_index=head))
    assert f"hook_head_index = {head!r}" in refusal(directory)


def test_a_norm_of_the_hub_is_read_by_its_module_path(copy_of: Copy) -> None:
    names = {"hook_name": "blocks.1.hook_mlp_in", "hf_hook_name": "model.layers.1.mlp.input"}
    directory = edit_config(copy_of("topk"), lambda config: config["metadata"].update(names))
    assert load(directory).info.hook_in == "model.layers.1.mlp.input"


def test_a_switch_that_is_no_boolean(copy_of: Copy) -> None:
    directory = copy_of("topk")
    edit_config(directory, lambda config: config.update(apply_b_dec_to_input="no"))
    assert "apply_b_dec_to_input = 'no'" in refusal(directory)


class _Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("name", ["ae.pt", "sae_weights.pt", "model.bin", "sae.pkl"])
@pytest.mark.parametrize("by_file", [True, False])
def test_a_pickle_is_refused_and_never_opened(tmp_path: Path, name: str, by_file: bool) -> None:
    trace = tmp_path / "executed"
    directory = tmp_path / "sae"
    directory.mkdir()
    (directory / name).write_bytes(pickle.dumps(_Malicious(trace)))
    (directory / ("config.json" if name == "ae.pt" else "cfg.json")).write_text("{}")
    message = refusal(directory / name if by_file else directory)
    assert "is a pickle" in message or "name a file itself" in message
    assert not trace.exists()


@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_a_pickle_named_safetensors_is_refused_and_never_opened(
    copy_of: Copy, tmp_path: Path, writer: str
) -> None:
    weights, trace = copy_of("topk") / "sae_weights.safetensors", tmp_path / "executed"
    if writer == "torch":
        torch.save(_Malicious(trace), weights)
    else:
        weights.write_bytes(pickle.dumps(_Malicious(trace)))
    with pytest.raises(DictionaryError, match="is a pickle"):
        load(weights.parent)
    assert not trace.exists()
    pickle.loads(pickle.dumps(_Malicious(trace)))
    assert trace.exists(), "the trap itself must work"
