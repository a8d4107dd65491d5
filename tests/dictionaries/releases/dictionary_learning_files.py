"""What dictionary_learning writes.

`python -m tests.dictionaries.releases.dictionary_learning_files OUT`
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch

from tests.dictionaries.releases.recorded import D_IN, D_SAE, K, fill, tokens, without_init, write

KINDS = {
    "AutoEncoder": "dictionary",
    "AutoEncoderNew": "dictionary",
    "GatedAutoEncoder": "dictionary",
    "JumpReluAutoEncoder": "dictionary",
    "AutoEncoderTopK": "trainers.top_k",
    "BatchTopKSAE": "trainers.batch_top_k",
    "MatryoshkaBatchTopKSAE": "trainers.matryoshka_batch_top_k",
}


def made(kind: str) -> Any:
    """A random dictionary of a class."""
    cls = getattr(import_module(f"dictionary_learning.{KINDS[kind]}"), kind)
    if kind.startswith("Matryoshka"):
        sae = cls(D_IN, D_SAE, K, [12, 36])
    elif "TopK" in kind:
        sae = cls(D_IN, D_SAE, K)
    else:
        sae = cls(D_IN, D_SAE)
    fill(sae)
    if "BatchTopK" in kind:
        sae.threshold.fill_(0.7)
    return sae


@torch.no_grad()
def main(out: Path) -> None:
    without_init("dictionary_learning")
    sys.modules["nnsight"] = MagicMock()  # of its training, which is not called
    for kind in KINDS:
        sae, x = made(kind), tokens()
        (out / kind).mkdir(parents=True)
        # As its training ends: trainSAE in training.py.
        torch.save(sae.state_dict(), out / kind / "ae.pt")
        trainer = {
            "dict_class": kind,
            "lm_name": "lab/tiny",
            "layer": 3,
            "submodule_name": "resid_post_layer_3",
            **({"k": K} if "TopK" in kind else {}),
        }
        config = {"trainer": trainer, "buffer": {"ctx_len": 128, "d_submodule": D_IN, "io": "out"}}
        (out / kind / "config.json").write_text(json.dumps(config))
        theirs = type(sae).from_pretrained(out / kind / "ae.pt")
        said = {"model": "lab/tiny", "hook_in": "blocks.3.hook_resid_post", "context_size": 128}
        write(out, kind, {"x": x, "z": theirs.encode(x), "y": theirs(x)}, **said)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
