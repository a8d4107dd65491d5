"""Tiny random models and dictionaries on disk, in the formats that real ones have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ARCHS = ("llama", "gpt_neox", "gpt2")
SAE_ARCHS = ("topk", "batchtopk", "jumprelu", "standard", "gated")


def tiny_model(
    directory: Path | str,
    arch: str = "llama",
    layers: int = 3,
    d: int = 32,
    vocab: int = 64,
    seed: int = 0,
) -> Path:
    """Write a random causal language model with its tokenizer and return the directory.

    The vocabulary is <pad> 0, <bos> 1, <eos> 2, w0 3, w1 4, ... and <unk> last; the tokenizer
    puts <bos> in front of every text by itself.
    """
    from transformers import AutoModelForCausalLM

    directory = Path(directory)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(_config(arch, layers, d, vocab))
    model.eval().save_pretrained(directory)
    _tokenizer(vocab).save_pretrained(directory)
    return directory


def tiny_sae(
    directory: Path | str,
    arch: str = "topk",
    d_in: int = 32,
    d_sae: int = 96,
    k: int = 6,
    hook: str | None = "blocks.1.hook_resid_post",
    model: str | None = "tiny",
    seed: int = 0,
    **config: Any,
) -> Path:
    """Write a random SAE with sae_lens' own save and return the directory.

    `config` goes to the sae_lens configuration (normalize_activations, apply_b_dec_to_input, ...).
    """
    from sae_lens.saes.sae import SAEMetadata

    metadata = SAEMetadata(model_name=model, hook_name=hook, prepend_bos=True, context_size=32)
    config = {"d_in": d_in, "d_sae": d_sae, "metadata": metadata, **config}
    sae = _BUILDERS[arch](config, k)
    _fill(sae, torch.Generator().manual_seed(seed))
    directory = Path(directory)
    if arch == "batchtopk":
        sae.save_inference_model(directory)
    else:
        sae.save_model(directory)
    return directory


def _config(arch: str, layers: int, d: int, vocab: int) -> Any:
    from transformers import GPT2Config, GPTNeoXConfig, LlamaConfig

    # A wide initialisation: at the default 0.02 no block would change anything measurably.
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "vocab_size": vocab}
    if arch == "gpt2":
        return GPT2Config(
            n_embd=d, n_layer=layers, n_head=4, n_positions=128, initializer_range=0.2, **ids
        )
    config = {"llama": LlamaConfig, "gpt_neox": GPTNeoXConfig}[arch]
    return config(
        hidden_size=d,
        intermediate_size=2 * d,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=128,
        initializer_range=0.2,
        **ids,
    )


def _tokenizer(vocab: int) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<bos>", "<eos>", *(f"w{i}" for i in range(vocab - 4)), "<unk>"]
    ids = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
    )


def _standard(config: dict[str, Any], k: int) -> Any:
    from sae_lens import StandardSAE, StandardSAEConfig

    return StandardSAE(StandardSAEConfig(**config))


def _topk(config: dict[str, Any], k: int) -> Any:
    from sae_lens import TopKSAE, TopKSAEConfig

    return TopKSAE(TopKSAEConfig(k=k, **config))


def _jumprelu(config: dict[str, Any], k: int) -> Any:
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig

    return JumpReLUSAE(JumpReLUSAEConfig(**config))


def _gated(config: dict[str, Any], k: int) -> Any:
    from sae_lens import GatedSAE, GatedSAEConfig

    return GatedSAE(GatedSAEConfig(**config))


def _batchtopk(config: dict[str, Any], k: int) -> Any:
    from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig

    return BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(k=k, **config))


_BUILDERS: dict[str, Callable[[dict[str, Any], int], Any]] = {
    "standard": _standard,
    "topk": _topk,
    "jumprelu": _jumprelu,
    "gated": _gated,
    "batchtopk": _batchtopk,
}


@torch.no_grad()
def _fill(sae: Any, generator: torch.Generator) -> None:
    """Tied unit-norm rows, small biases, positive thresholds: every part of the formula acts."""
    rows = torch.randn(sae.W_dec.shape, generator=generator)
    rows = rows / rows.norm(dim=1, keepdim=True)
    sae.W_dec.copy_(rows)
    sae.W_enc.copy_(rows.T)
    for name in ("b_dec", "b_enc", "b_gate", "b_mag", "r_mag"):
        if getattr(sae, name, None) is not None:
            bias = getattr(sae, name)
            bias.copy_(0.1 * torch.randn(bias.shape, generator=generator))
    if getattr(sae, "threshold", None) is not None:
        sae.threshold.copy_(0.5 + torch.rand(sae.threshold.shape, generator=generator))
    if getattr(sae, "topk_threshold", None) is not None:
        sae.topk_threshold.fill_(1.0)
