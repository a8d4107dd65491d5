"""Tiny files of sae_lens' rarer architectures, written by sae_lens' own save."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

TRANSCODERS = (
    "transcoder",
    "skip_transcoder",
    "jumprelu_transcoder",
    "jumprelu_skip_transcoder",
)
RARE = ("abstopk", "matching_pursuit", *TRANSCODERS)
_READS, _WRITES = "blocks.1.ln2.hook_out", "blocks.1.hook_mlp_out"


def write(directory: Path, arch: str, d_in: int = 32, d_sae: int = 48, **config: Any) -> Path:
    """Write a random SAE of an architecture and return the directory."""
    from sae_lens.registry import get_sae_class
    from sae_lens.saes.sae import SAEMetadata

    metadata = SAEMetadata(model_name="tiny", hook_name=_READS, prepend_bos=True)
    if arch in TRANSCODERS:
        metadata.hook_name_out = _WRITES
        config = {"d_out": d_in, "apply_b_dec_to_input": False, **config}
    if arch == "abstopk":
        config = {"k": 5, **config}
    sae_class, config_class = get_sae_class(arch)
    sae = sae_class(config_class(d_in=d_in, d_sae=d_sae, metadata=metadata, **config))
    fill(sae)
    sae.save_model(directory)
    return directory


def write_temporal(directory: Path, d_in: int = 32, d_sae: int = 48, **config: Any) -> Path:
    """Write a random temporal SAE with sae_lens' own save and return the directory."""
    from sae_lens.saes.sae import SAEMetadata
    from sae_lens.saes.temporal_sae import TemporalSAE, TemporalSAEConfig

    metadata = SAEMetadata(model_name="tiny", hook_name="blocks.1.hook_resid_post")
    small = {"n_heads": 2, "bottleneck_factor": 4, "n_attn_layers": 2, "kval_topk": 5}
    settings = {**small, **config}
    sae = TemporalSAE(TemporalSAEConfig(d_in=d_in, d_sae=d_sae, metadata=metadata, **settings))
    fill(sae)
    sae.save_model(directory)
    return directory


def write_matryoshka(
    directory: Path, widths: tuple[int, ...] = (8, 20, 48), d_in: int = 32
) -> Path:
    """Write a Matryoshka BatchTopK SAE as its training would."""
    from sae_lens import MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig
    from sae_lens.saes.sae import SAEMetadata

    config = MatryoshkaBatchTopKTrainingSAEConfig(
        d_in=d_in,
        d_sae=widths[-1],
        k=6,
        matryoshka_widths=list(widths),
        metadata=SAEMetadata(model_name="tiny", hook_name=_READS),
    )
    sae = MatryoshkaBatchTopKTrainingSAE(config)
    fill(sae)
    sae.topk_threshold.fill_(1.0)
    sae.save_inference_model(directory)
    return directory


@torch.no_grad()
def fill(sae: Any, seed: int = 0) -> None:
    """Give every parameter random numbers, decoder rows of length 1 and thresholds above 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(sae.named_parameters()):
        parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        if name == "threshold":
            parameter.abs_()
        if name == "W_dec":
            parameter.div_(parameter.norm(dim=1, keepdim=True))


def outputs(directory: Path, x: Tensor) -> tuple[Tensor, Tensor]:
    """Codes and reconstructions of sae_lens' own class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_lens import SAE

        sae = SAE.load_from_disk(str(directory))
    with torch.no_grad():
        return sae.encode(x), sae(x)


def tokens(count: int = 100, d_in: int = 32) -> Tensor:
    """Activations with a mean, of different lengths."""
    generator = torch.Generator().manual_seed(11)
    return 1.5 * torch.randn(count, d_in, generator=generator) + 0.3
