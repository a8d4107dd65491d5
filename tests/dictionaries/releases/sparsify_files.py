"""What sparsify writes: `python -m tests.dictionaries.releases.sparsify_files OUT`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from tests.dictionaries.releases.recorded import D_IN, D_SAE, K, fill, tokens, without_init, write

KINDS: dict[str, dict[str, Any]] = {
    "topk": {},
    "groupmax": {"activation": "groupmax"},
    "skip": {"skip_connection": True},
    "transcoder": {"transcode": True},
    "skip_transcoder": {"transcode": True, "skip_connection": True},
    "multi_topk": {"multi_topk": True},
}


@torch.no_grad()
def main(out: Path) -> None:
    without_init("sparsify")
    from sparsify.config import SparseCoderConfig
    from sparsify.sparse_coder import SparseCoder

    for name, changes in KINDS.items():
        config = SparseCoderConfig.from_dict({"num_latents": D_SAE, "k": K, **changes})
        sae, x = SparseCoder(D_IN, config), tokens()
        fill(sae)
        place = "layers.2.mlp" if config.transcode else "layers.2"
        sae.save_to_disk(out / name / place)
        chosen = sae.encode(x)
        z = torch.zeros(len(x), D_SAE).scatter_(1, chosen[1], chosen[0])
        y = sae(x).sae_out
        if config.multi_topk:  # there it gives back what its second loss is of, with 4 k latents
            y = sae.decode(chosen[0], chosen[1])
        said = {"hook_out": place, "k": K}
        write(out, name, {"x": x, "z": z, "y": y}, place=place, **said)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
