"""Worlds that are not the bundled one, with good and worthless dictionaries of each.

    python -m benchmarks.foreign_worlds --out DIR [--only neox gpt2] \\
        [--model DIR --texts FILE.json --labelled DIR]

`stories` is a model that is given, in Hugging Face's format: --texts is a JSON list of texts close
to what it was trained on, --labelled a directory of train.csv and test.csv with the columns text,
domain and sentiment. `neox` is a small GPT-NeoX trained here on the texts of `sae-probes` (extra
`probes`), `gpt2` a small GPT-2 trained here on other texts of the bundled grammar. What is there
already is not made again. All of it takes some 20 CPU minutes on one thread.

gate_foreign.py judges what this makes.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import torch
from transformers import (
    AutoConfig,
    AutoTokenizer,
    GPT2Config,
    GPTNeoXConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

from benchmarks import foreign_models, foreign_texts
from benchmarks.foreign_dictionaries import Recipes, Workshop
from benchmarks.foreign_models import Training
from benchmarks.foreign_texts import Material
from fixtures import tokenizer
from fixtures.dictionaries import Make

log = logging.getLogger("benchmarks.foreign_worlds")

PAD, BOS, EOS = map(tokenizer.SPECIAL.index, (tokenizer.PAD, tokenizer.BOS, tokenizer.EOS))


@dataclass(frozen=True)
class World:
    """One model and what is made of it.

    Args:
        material: its texts.
        recipes: of its dictionaries.
        sibling: how the other model of the same width is trained.
        given: directory of the model, None to train one.
        config: of one that is trained.
        training: of one that is trained.
    """

    material: Callable[[], Material]
    recipes: Recipes
    sibling: Training
    given: Path | None = None
    config: PretrainedConfig | None = None
    training: Training | None = None


def worlds(model: Path | None, texts: Path | None, labelled: Path | None) -> dict[str, World]:
    """Return every world that can be made.

    Args:
        model: the model of `stories`, None to leave that world out.
        texts: its corpus.
        labelled: directory of its labelled texts.
    """
    trained = {"neox": _neox(), "gpt2": _gpt2()}
    if model is None or texts is None or labelled is None:
        return trained
    return {"stories": _stories(model, partial(foreign_texts.given, texts, labelled)), **trained}


def _stories(model: Path, material: Callable[[], Material]) -> World:
    makes = {"topk": Make(1536, 32), "batchtopk": Make(768, 24), "relu": Make(768, l1=1.5)}
    return World(material, Recipes(3, 5, makes, 1200, 250_000), Training(80, 5), given=model)


def _neox() -> World:
    makes = {"topk": Make(768, 24), "batchtopk": Make(384, 32), "relu": Make(384, l1=1.5)}
    config = GPTNeoXConfig(
        vocab_size=2048,
        hidden_size=96,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=foreign_models.CONTEXT,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
    return World(
        partial(foreign_texts.mixed, "neox"),
        Recipes(2, 0, makes, 800, 150_000),
        Training(120, 32),
        config=config,
        training=Training(400, 31),
    )


def _gpt2() -> World:
    makes = {"topk": Make(512, 24), "batchtopk": Make(256, 16), "relu": Make(512, l1=1.5)}
    config = GPT2Config(
        vocab_size=1024,
        n_embd=64,
        n_layer=3,
        n_head=4,
        n_positions=foreign_models.CONTEXT,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
    return World(
        partial(foreign_texts.grammar, "gpt2"),
        Recipes(1, 2, makes, 800, 150_000),
        Training(150, 42),
        config=config,
        training=Training(450, 41),
    )


def build(world: World, folder: Path) -> None:
    """Make what is missing of one world: texts, models, dictionaries."""
    material = world.material()
    material.write(folder)
    if not (folder / "model").is_dir():
        _model(world, material.training, folder)
    words = cast(PreTrainedTokenizerFast, AutoTokenizer.from_pretrained(folder / "model"))
    if not (folder / "sibling").is_dir():
        config = world.config or AutoConfig.from_pretrained(folder / "model")
        _trained(config, words, material.training, world.sibling, folder / "sibling")
    Workshop(folder, tuple(material.training), world.recipes).build()


def _model(world: World, texts: Sequence[str], folder: Path) -> None:
    if world.given is not None:
        shutil.copytree(world.given, folder / "model", copy_function=shutil.copyfile)
        return
    assert world.config is not None
    assert world.training is not None
    words = foreign_models.words_of(texts, world.config.vocab_size)
    _trained(world.config, words, texts, world.training, folder / "model")


def _trained(
    config: PretrainedConfig,
    words: PreTrainedTokenizerFast,
    texts: Sequence[str],
    training: Training,
    folder: Path,
) -> None:
    scratch = folder.with_name("unfinished")
    shutil.rmtree(scratch, ignore_errors=True)
    foreign_models.train(config, words, texts, training, scratch)
    scratch.rename(folder)
    log.info("trained %s", folder)


def main() -> None:
    """Make the worlds that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="directory of the worlds")
    parser.add_argument("--only", nargs="+", help="names of worlds")
    for name in ("model", "texts", "labelled"):
        parser.add_argument(f"--{name}", type=Path, help="of the world `stories`")
    told = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    for name, world in worlds(told.model, told.texts, told.labelled).items():
        if not told.only or name in told.only:
            build(world, told.out.resolve() / name)
            log.info("%s is complete", name)


if __name__ == "__main__":
    main()
