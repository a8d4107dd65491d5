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
_OF_GPTJ = {
    **dict.fromkeys(_SIZES),
    "n_embd": 32,
    "n_inner": 64,
    "n_layer": 3,
    "n_head": 4,
    "rotary_dim": 4,
    "n_positions": 64,
    "vocab_size": 64,
    "initializer_range": 0.2,
}
ENCODERS = ("bert", "distilbert", "roberta", "electra", "mpnet", "modernbert")
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
    "mixtral": {"num_local_experts": 2},
    "gptj": _OF_GPTJ,
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 3, "max_seq_len": 64},
    "modernbert": {"cls_token_id": 1, "sep_token_id": 2, "local_attention": 4},
    "distilbert": {"hidden_dim": 64},
}
ARCHITECTURES = (
    "llama", "gpt_neox", "gpt2", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text",
    "olmo2", "phi", "falcon", "opt", "gpt_neo", "bloom", "gemma", "phi3", "gptj", "olmo", "olmo3",
    "stablelm", "cohere", "glm", "glm4", "smollm3", "mixtral", "mpt",
)  # fmt: skip


def language_model(arch: str, **config: Any) -> LanguageModel:
    """Return a random model of three blocks, 32 wide, without a tokenizer.

    Args:
        arch: one of `ARCHITECTURES` or `ENCODERS`.
        config: what differs from the sizes above.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    own = {**_SIZES, **_OWN.get(arch, {}), **config}
    configuration = AutoConfig.for_model(arch, **{k: v for k, v in own.items() if v is not None})
    kind: Any = AutoModel if arch in ENCODERS else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hf = kind.from_config(configuration)
        _disturb(hf)
    hf = hf.eval().requires_grad_(False)
    return LanguageModel(hf, None, arch, arch, "none", arch not in ENCODERS)


@torch.no_grad()
def _disturb(hf: Any) -> None:
    """Random biases and norms, which are all zeros and ones at first and would hide mistakes."""
    for parameter in hf.parameters():
        if parameter.ndim == 1:
            parameter += 0.2 * torch.randn(parameter.shape)


def padded_batch(lengths: tuple[int, ...] = (4, 9, 6), vocab: int = 64, seed: int = 0) -> Batch:
    """Return random ids of the given lengths, padded on the right with 0, the first one BOS."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocab - 1, (len(lengths), max(lengths)), generator=generator)
    attention = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = torch.where(attention, ids, 0)
    ids[:, 0] = 1
    return Batch(ids, attention, attention & (ids > 2), torch.arange(len(lengths)))
