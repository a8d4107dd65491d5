"""Tiny random models of many architectures, in memory, and batches of random tokens for them."""

from __future__ import annotations

from typing import Any

import torch

from pytest_sae.models.model import LanguageModel
from pytest_sae.models.tokenize import Batch

_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "vocab_size": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_OWN: dict[str, dict[str, Any]] = {
    # GPT-Neo's blocks return tuples, OPT has no MLP module, Gemma's layers differ in their masks.
    "gpt_neo": {
        "num_layers": 3,
        "num_heads": 4,
        "attention_types": [[["global", "local", "global"], 1]],
        "window_size": 3,
    },
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "gemma2": {"sliding_window": 3, "query_pre_attn_scalar": 8},
    "gemma3_text": {"sliding_window": 3, "query_pre_attn_scalar": 8},
    "mistral": {"sliding_window": 3},
    "gpt_neox": {"head_dim": None, "num_key_value_heads": None},
    "falcon": {"head_dim": None, "num_key_value_heads": None},
    "gpt2": {"num_key_value_heads": None, "head_dim": None},
}
ARCHITECTURES = (
    "llama", "gpt_neox", "gpt2", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text",
    "olmo2", "phi", "falcon", "opt", "gpt_neo", "bloom",
)  # fmt: skip


def language_model(arch: str) -> LanguageModel:
    """Return a random model of three blocks, 32 wide, without a tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM

    own = {**_SIZES, **_OWN.get(arch, {})}
    config = AutoConfig.for_model(arch, **{k: v for k, v in own.items() if v is not None})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hf = AutoModelForCausalLM.from_config(config)
    return LanguageModel(hf.eval().requires_grad_(False), None, arch, arch, "none")


def padded_batch(lengths: tuple[int, ...] = (4, 9, 6), vocab: int = 64, seed: int = 0) -> Batch:
    """Return random ids of the given lengths, padded on the right with 0, the first one BOS."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocab - 1, (len(lengths), max(lengths)), generator=generator)
    attention = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = torch.where(attention, ids, 0)
    ids[:, 0] = 1
    return Batch(ids, attention, attention & (ids > 2), torch.arange(len(lengths)))
