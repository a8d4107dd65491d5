"""A checkpoint of sae_lens' training is the SAE that sae_lens would have finished there."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.dictionaries.load import load
from pytest_sae.errors import DictionaryError
from tests.dictionaries.contents import CLOSE
from tests.dictionaries.formats.sae_lens_files import fill, tokens
from tests.dictionaries.hub.hub_cache_files import below, cache, files_in

SCALED, FACTOR = "expected_average_only_in", 0.25
OWN: dict[str, dict[str, Any]] = {
    "standard": {},
    "gated": {},
    "jumprelu": {},
    "topk": {"k": 5},
    "batchtopk": {"k": 5},
    "matryoshka_batchtopk": {"k": 5, "matryoshka_widths": [16, 48]},
}


def training(arch: str, **config: Any) -> Any:
    """A TrainingSAE of random weights, decoder rows of several lengths and a running threshold."""
    from sae_lens.registry import get_sae_training_class
    from sae_lens.saes.sae import SAEMetadata

    sae_class, config_class = get_sae_training_class(arch)
    metadata = SAEMetadata(model_name="tiny", hook_name="blocks.1.hook_resid_post")
    own = {"normalize_activations": SCALED, **OWN[arch], **config}
    sae = sae_class(config_class(d_in=32, d_sae=48, metadata=metadata, **own))
    fill(sae)
    lengths = 0.5 + torch.rand(48, 1, generator=torch.Generator().manual_seed(3))
    sae.W_dec.data.mul_(lengths)
    if "batchtopk" in arch:
        sae.topk_threshold.fill_(0.4)
    return sae


def checkpoint(directory: Path, sae: Any, factor: float | None = FACTOR) -> Path:
    """What sae_lens' trainer writes on the way."""
    from sae_lens import LoggingConfig, SAETrainer
    from sae_lens.config import SAETrainerConfig

    config = SAETrainerConfig(
        n_checkpoints=0, checkpoint_path=None, save_final_checkpoint=False,
        total_training_samples=64, device="cpu", autocast=False, lr=1e-3, lr_end=1e-4,
        lr_scheduler_name="constant", lr_warm_up_steps=0, adam_beta1=0.9, adam_beta2=0.999,
        lr_decay_steps=0, n_restart_cycles=1, train_batch_size_samples=32,
        dead_feature_window=100, feature_sampling_window=200,
        logger=LoggingConfig(log_to_wandb=False), n_batches_for_norm_estimate=1,
    )  # fmt: skip
    trainer = SAETrainer(cfg=config, sae=sae, data_provider=iter(()))
    trainer.activation_scaler.scaling_factor = factor
    trainer.save_checkpoint("at_32", base_path=directory)
    return directory / "at_32"


def finished(directory: Path, sae: Any, factor: float | None) -> Any:
    """What sae_lens gives of the SAE that its trainer saves in the end."""
    from sae_lens import SAE

    sae = copy.deepcopy(sae)
    if factor is not None:
        sae.fold_activation_norm_scaling_factor(factor)
    sae.save_inference_model(directory)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SAE.load_from_disk(str(directory))


@torch.no_grad()
def agree(ours: Dictionary, theirs: Any, x: Tensor) -> None:
    z = theirs.encode(x)
    assert 0 < (z != 0).sum() < z.numel()
    torch.testing.assert_close(ours.encode(x), z, **CLOSE)
    torch.testing.assert_close(ours.reconstruct(x), theirs(x), **CLOSE)


@pytest.mark.parametrize("arch", OWN)
def test_the_factor_beside_a_checkpoint_is_folded_as_sae_lens_folds_it(
    arch: str, tmp_path: Path
) -> None:
    sae = training(arch)
    ours = load(checkpoint(tmp_path, sae))
    agree(ours, finished(tmp_path / "end", sae, FACTOR), 3 * tokens())
    assert ours.info.hook_in == "blocks.1.hook_resid_post"


@pytest.mark.parametrize("rescaled", [True, False])
@pytest.mark.parametrize("arch", ["topk", "batchtopk", "matryoshka_batchtopk"])
def test_a_checkpoint_without_a_factor_is_finished_too(
    arch: str, rescaled: bool, tmp_path: Path
) -> None:
    own = {"normalize_activations": "none", "rescale_acts_by_decoder_norm": rescaled}
    sae = training(arch, **own)
    ours = load(checkpoint(tmp_path, sae, None))
    agree(ours, finished(tmp_path / "end", sae, None), tokens())
    assert ours.info.family == f"sae_lens.{arch}"
    assert ours.info.k == 5
    assert ours.info.prefixes == ((16, 48) if arch.startswith("matryoshka") else ())


def test_a_factor_that_is_said_comes_before_the_file_s(tmp_path: Path) -> None:
    sae = training("topk")
    ours = load(checkpoint(tmp_path, sae), settings=[("norm_factor", "0.5")])
    agree(ours, finished(tmp_path / "end", sae, 0.5), 3 * tokens())


def test_the_scaler_of_a_checkpoint_on_the_hub_comes_with_it(tmp_path: Path, home: Path) -> None:
    from pytest_sae.dictionaries.spec import resolve

    sae = training("topk")
    directory = checkpoint(tmp_path, sae)
    names = ("cfg.json", "sae_weights.safetensors", "activation_scaler.json")
    there = {name: content for name, content in files_in(directory).items() if name in names}
    cache(home, "lab/saes", below("at_32", there))
    ours = load(resolve(["hf:lab/saes/at_32"])[0].path)
    agree(ours, finished(tmp_path / "end", sae, FACTOR), 3 * tokens())


def refusal(path: Path) -> str:
    with pytest.raises(DictionaryError, match="Expected") as caught:
        load(path)
    return str(caught.value)


@pytest.mark.parametrize("factor", [0, -1, True, "big", [1]])
def test_a_factor_that_is_none_is_refused(factor: object, tmp_path: Path) -> None:
    path = checkpoint(tmp_path, training("topk"))
    (path / "activation_scaler.json").write_text(json.dumps({"scaling_factor": factor}))
    assert f"scaling_factor = {factor!r}" in refusal(path)


def test_a_factor_that_the_configuration_denies_is_refused_with_both_ways_out(
    tmp_path: Path,
) -> None:
    message = refusal(checkpoint(tmp_path, training("topk", normalize_activations="none")))
    assert "'none', and activation_scaler.json beside it says scaling_factor = 0.25" in message
    assert "remove the file if the factor is folded" in message
    assert "--sae=sae_lens,normalize_activations=expected_average_only_in:" in message


def test_a_threshold_that_was_never_estimated_is_refused(tmp_path: Path) -> None:
    sae = training("batchtopk")
    sae.topk_threshold.fill_(0.0)
    assert "take a later one" in refusal(checkpoint(tmp_path, sae))
