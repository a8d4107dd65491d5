"""Temporal SAEs as their authors publish them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.dictionaries.contents import random, unit

# As their training writes it, with what is about training alone.
_CONF = """\
# hydra's, of the whole run
deploy: true
tag: scratch
seed: 42
device_id: cuda:0
data: {{epochs: 1, context_length: 500, dtype: bfloat16, hf_name: monology/pile-uncopyrighted,
  cache_dir: ../../activations/, num_workers: 2, num_total_steps: 200000, batch_size: 100}}
llm:
  model_hf_name: {model_hf_name}
  tokenizer_hf_name: {model_hf_name}
  dimin: {d_in}
sae:
  sae_type: temporal
  sae_diff_type: topk
  tied_weights: {tied}
  block_id: 1
  exp_factor: {factor}
  kval_topk: 5
  n_heads: 2
  n_attn_layers: 1
  bottleneck_factor: 4
  gamma_reg: 10
  scaling_factor: 0.4
optimizer: {{learning_rate: 1e-3, weight_decay: 1e-4, beta1: 0.9}}
eval: {{save_tables: false}}
log: {{log_interval: 10, wandb_project_name: TemporalSAE}}
"""


def weights(d_in: int, d_sae: int, tied: bool) -> dict[str, Tensor]:
    """Random numbers of bfloat16, of one layer of attention."""
    narrow = {"k_ctx": d_sae // 4, "q_target": d_sae // 4, "v_ctx": d_sae, "c_proj": d_sae}
    w = {"D": unit(d_sae, d_in, seed=1), "b": random(d_in, seed=2, scale=0.1)}
    for seed, (name, width) in enumerate(narrow.items()):
        w[f"attn_layers.0.{name}.weight"] = random(width, d_sae, seed=seed, scale=0.3)
        w[f"attn_layers.0.{name}.bias"] = random(width, seed=seed + 9, scale=0.1)
    if not tied:
        w["E"] = random(d_in, d_sae, seed=3)
    return {name: tensor.bfloat16().float() for name, tensor in w.items()}


def write_published(
    directory: Path, d_in: int, d_sae: int, *, tied: bool = True, model_hf_name: str = "lab/tiny"
) -> Path:
    """Write conf.yaml and latest_ckpt.safetensors, and return their directory."""
    directory.mkdir(parents=True, exist_ok=True)
    save_file(weights(d_in, d_sae, tied), directory / "latest_ckpt.safetensors")
    said = {"d_in": d_in, "factor": d_sae / d_in, "tied": json.dumps(tied)}
    (directory / "conf.yaml").write_text(_CONF.format(model_hf_name=model_hf_name, **said))
    return directory


def texts(d_in: int, seed: int = 3) -> Tensor:
    """(text, position, d_in) activations with a mean."""
    return 2 * torch.randn(4, 7, d_in, generator=torch.Generator().manual_seed(seed)) + 0.3
