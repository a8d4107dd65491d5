"""Tiny random encoders on disk, with a tokenizer that frames texts as BERT's or RoBERTa's does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "initializer_range": 0.2,
    "vocab_size": 64,
}


def tiny_encoder(directory: Path, arch: str = "bert", masked: bool = False, **config: Any) -> Path:
    """Write an encoder with its tokenizer and return the directory.

    The vocabulary is [PAD], [CLS], [SEP], [MASK], then w0, w1, ... and [UNK] last; RoBERTa's has
    its [PAD] second, as the original.

    Args:
        directory: to write to.
        arch: `bert`, `roberta` or `distilbert`.
        masked: with the head that fills masks and no pooler, as most checkpoints are.
        config: what differs.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

    names = ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    if arch == "roberta":
        names = ["[CLS]", "[PAD]", "[SEP]", "[MASK]"]
    words = [*names, *(f"w{i}" for i in range(59)), "[UNK]"]
    ids = {word: i for i, word in enumerate(words)}
    sizes = {**_SIZES, "max_position_embeddings": 64, "pad_token_id": ids["[PAD]"], **config}
    sizes |= {"hidden_dim": 64} if arch == "distilbert" else {}
    kind: Any = AutoModelForMaskedLM if masked else AutoModel
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind.from_config(AutoConfig.for_model(arch, **sizes))
    model.eval().save_pretrained(directory)
    _tokenizer(ids).save_pretrained(directory)
    return directory


def _tokenizer(ids: dict[str, int]) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    frame = [(name, ids[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=frame
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        pad_token="[PAD]",
        unk_token="[UNK]",
    )
