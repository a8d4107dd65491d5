"""Small language models of any architecture for foreign_worlds.py, and what goes on inside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedTokenizerFast

from fixtures import language_model, tokenizer
from pytest_sae.models.load import load
from pytest_sae.models.tokenize import batches

CONTEXT = 128
ROWS = 24  # texts of a training step
RATE = 3e-3


@dataclass(frozen=True)
class Training:
    """How long and from which seed a model is trained."""

    steps: int
    seed: int


def words_of(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Return byte-level pieces learned from texts, with BOS, EOS and PAD."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(tokenizer.SPECIAL),
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    learner.train_from_iterator(texts, trainer)
    tokenizer.dress(learner)
    return PreTrainedTokenizerFast(tokenizer_object=learner, **tokenizer.SETTINGS)


def train(
    config: PretrainedConfig,
    words: PreTrainedTokenizerFast,
    texts: Sequence[str],
    training: Training,
    folder: Path,
) -> None:
    """Train a model from nothing and save it with its tokenizer.

    Args:
        config: of its architecture.
        words: its tokenizer.
        texts: what it reads, in an order drawn by the seed, again and again.
        training: how long, from which seed.
        folder: where it is saved.
    """
    with torch.random.fork_rng():
        torch.manual_seed(training.seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    adam = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    order = cycle(Random(training.seed).sample(range(len(texts)), len(texts)))
    for step in range(training.steps):
        rows = [((texts[place], 1.0),) for place in islice(order, ROWS)]
        encoded = [
            language_model.Encoded(row.ids[:CONTEXT], row.weights[:CONTEXT])
            for row in language_model.encode(rows, words)
        ]
        language_model.gradient(model, encoded)
        adam.param_groups[0]["lr"] = RATE * language_model.schedule(step, training.steps)
        adam.step()
        adam.zero_grad()
    model.save_pretrained(folder)
    words.save_pretrained(folder)


def activations(
    folder: Path, texts: Sequence[str], blocks: Sequence[int], most: int
) -> dict[int, Tensor]:
    """Return what blocks write to the residual stream, special tokens left out, in random order.

    Args:
        folder: of the model.
        texts: read in their order, as many as give `most` tokens.
        blocks: whose output is wanted.
        most: tokens.

    Returns:
        (token, d_in) of each block.
    """
    model = load(str(folder), "cpu", torch.float32)
    sites = {block: model.site(f"blocks.{block}.hook_resid_post") for block in blocks}
    parts: dict[int, list[Tensor]] = {block: [] for block in blocks}
    for batch in batches(texts, model.tokenizer, CONTEXT, prepend_bos=True):
        captured = model.capture(batch, list(sites.values()))
        for block, site in sites.items():
            parts[block].append(captured[site][batch.valid])
    total = sum(len(part) for part in parts[blocks[0]])
    order = torch.randperm(total, generator=torch.Generator().manual_seed(0))[:most]
    return {block: torch.cat(found)[order] for block, found in parts.items()}
