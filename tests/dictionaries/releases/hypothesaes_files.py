"""What HypotheSAEs writes: `python -m tests.dictionaries.releases.hypothesaes_files OUT`."""

from __future__ import annotations

import sys
from inspect import signature
from pathlib import Path

import torch

from tests.dictionaries.releases.recorded import D_IN, D_SAE, K, fill, tokens, without_init, write


@torch.no_grad()
def main(out: Path) -> None:
    without_init("hypothesaes")
    from hypothesaes.sae import SparseAutoencoder

    known = signature(SparseAutoencoder).parameters
    batch = {"batch_topk": {"use_batch_topk": True}} if "use_batch_topk" in known else {}
    for name, changes in {"topk": {}, **batch}.items():
        sae, x = SparseAutoencoder(D_IN, D_SAE, K, **changes), tokens()
        fill(sae)
        if changes:
            sae.threshold.fill_(0.7)
        sae.save(str(out / name / "sae.pt"))
        y, info = sae.eval()(x)
        write(out, name, {"x": x, "z": info["activations"], "y": y}, place="sae.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
