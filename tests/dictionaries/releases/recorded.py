"""What a library wrote and computed: its files, and beside them the figures that it gives.

`NAME/` has the files, `NAME.figures.safetensors` what was given (`x`), its latents (`z`) and
reconstruction (`y`), `NAME.figures.json` how the files are named to `--sae` and the site they say.
"""

from __future__ import annotations

import json
import sys
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

D_IN, D_SAE, K = 16, 48, 6
_FIGURES, _SAID = ".figures.safetensors", ".figures.json"


def without_init(package: str) -> None:
    """Let a package's modules be imported without its `__init__`, and so without its trainers."""
    found = util.find_spec(package)
    assert found is not None
    shell = ModuleType(package)
    shell.__path__ = list(found.submodule_search_locations or [])
    sys.modules[package] = shell


def tokens(count: int = 60, d: int = D_IN) -> Tensor:
    """(token, d) activations with a mean, of different lengths."""
    generator = torch.Generator().manual_seed(11)
    return 1.5 * torch.randn(count, d, generator=generator) + 0.3


@torch.no_grad()
def fill(module: torch.nn.Module, seed: int = 0) -> None:
    """Give every parameter random numbers; thresholds are above 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(module.named_parameters()):
        parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        if name.endswith("threshold") and not name.endswith("log_jumprelu_threshold"):
            parameter.abs_()


def write(
    out: Path,
    name: str,
    figures: dict[str, Tensor],
    *,
    settings: str = "",
    place: str = "",
    **said: Any,
) -> None:
    """Keep what the library computed of the files that it wrote under `out / name`.

    Args:
        out: the folder of the release.
        name: of the kind.
        figures: `x`, `z`, `y`, each (token, ...).
        settings: what stands before the path in `--sae`, empty for nothing.
        place: the file or folder under `out / name` to be named, empty for itself.
        said: attributes that the loaded dictionary's information must have.
    """
    save_file({k: v.detach().contiguous() for k, v in figures.items()}, out / f"{name}{_FIGURES}")
    about = {"settings": settings, "place": place, "said": said}
    (out / f"{name}{_SAID}").write_text(json.dumps(about))


def names(out: Path) -> list[str]:
    """What was written under a release's folder."""
    return sorted(each.name.removesuffix(_SAID) for each in out.glob(f"*{_SAID}"))


def read(out: Path, name: str) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    """The line for `--sae`, the figures, and what the information must say."""
    about = json.loads((out / f"{name}{_SAID}").read_text())
    path = out / name / about["place"]
    line = f"{about['settings']}:{path}" if about["settings"] else str(path)
    return line, load_file(out / f"{name}{_FIGURES}"), about["said"]
