"""What overcomplete writes: `python -m tests.dictionaries.releases.overcomplete_files OUT`.

It has no save but torch's: the state_dict of each class that the release has.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.dictionaries.releases.recorded import D_IN, D_SAE, K, tokens, without_init, write

KINDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "SAE": (lambda sae: sae.SAE(D_IN, D_SAE, device="cpu"), "codes=relu"),
    "TopKSAE": (lambda sae: sae.TopKSAE(D_IN, D_SAE, top_k=K, device="cpu"), f"k={K}"),
    "JumpSAE": (lambda sae: sae.JumpSAE(D_IN, D_SAE, device="cpu"), ""),
    "MpSAE": (lambda sae: sae.MpSAE(D_IN, D_SAE, k=K, device="cpu"), f"k={K}"),
    "OMPSAE": (lambda sae: sae.OMPSAE(D_IN, D_SAE, k=K, device="cpu"), f"codes=omp,k={K}"),
}


@torch.no_grad()
def trained(module: Any, x: torch.Tensor) -> Any:
    """The module as some training leaves it: nothing at its start, in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in module.named_parameters():
        if not name.startswith("dictionary._weights"):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    module.train()
    module.encode(x)
    module.get_dictionary()
    return module.eval()


@torch.no_grad()
def main(out: Path) -> None:
    without_init("overcomplete")
    import overcomplete.sae as library

    for name, (make, settings) in KINDS.items():
        if not hasattr(library, name):
            continue
        torch.manual_seed(0)
        x = tokens()
        module = trained(make(library), x)
        (out / name).mkdir(parents=True)
        torch.save(module.state_dict(), out / name / "sae.pt")
        *_, z, y = module(x)  # before 0.1, without pre-activations
        line = f"overcomplete,{settings}" if settings else "overcomplete"
        write(out, name, {"x": x, "z": z, "y": y}, settings=line, place="sae.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
