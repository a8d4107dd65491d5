"""Random dictionaries of every architecture, made in memory and loaded as files would be.

random_dictionary("gated", d_in=16, d_sae=64, seed=0)  # a Dictionary, proven
ARCHITECTURES                                          # those there are
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pytest_sae.dictionaries.content import Content
from pytest_sae.dictionaries.formats import sae_lens
from pytest_sae.dictionaries.formats.sae_lens_config import TENSORS, TRANSCODERS
from pytest_sae.dictionaries.prove import prove

if TYPE_CHECKING:
    from pytest_sae.dictionaries.base import Dictionary

#: As sae_lens names them; BatchTopK and Matryoshka SAEs are JumpReLU once they are trained.
ARCHITECTURES = tuple(TENSORS)

_SMALL = ("b_dec", "b_enc", "b_gate", "b_mag", "r_mag", "W_skip")


def random_dictionary(
    architecture: str, d_in: int, d_sae: int, seed: int, k: int = 4, d_out: int | None = None
) -> Dictionary:
    """Return a random dictionary: tied unit rows, small biases, thresholds about 1.

    Every part of the architecture's formula has a say, so that a metric which forgets one is
    wrong on it.

    Args:
        architecture: one of `ARCHITECTURES`.
        d_in: width of what it reads.
        d_sae: number of latents.
        seed: of the weights.
        k: latents per token, where the architecture selects or pursues; at most d_sae.
        d_out: width of what a transcoder writes; d_in by default, and for all others.

    Raises:
        ValueError: an architecture that there is not.
        DictionaryError: sizes that it cannot have.
    """
    if architecture not in TENSORS:
        raise ValueError(
            f"unknown architecture {architecture!r}. Expected {', '.join(ARCHITECTURES)}."
        )
    written = d_out if d_out is not None and architecture in TRANSCODERS else d_in
    name = f"random {architecture}, seed {seed}"
    config = _config(architecture, d_in, written, d_sae, min(k, d_sae))
    tensors = _tensors(architecture, d_in, written, d_sae, seed)
    content = Content(name, Path(name), config, tensors)
    dictionary = sae_lens.build(content, device="cpu", dtype=None)
    prove(dictionary)
    return dictionary


def _config(architecture: str, d_in: int, d_out: int, d_sae: int, k: int) -> dict[str, object]:
    transcoder = architecture in TRANSCODERS
    config: dict[str, object] = {
        "architecture": architecture,
        "d_in": d_in,
        "d_sae": d_sae,
        "normalize_activations": "none",
        "apply_b_dec_to_input": not transcoder,
        "metadata": {
            "sae_lens_version": "6.54.12",
            "model_name": "synthetic",
            "hook_name": "in",
            "hook_name_out": "out" if transcoder else None,
            "prepend_bos": True,
        },
    }
    if transcoder:
        config["d_out"] = d_out
    if architecture in ("topk", "abstopk"):
        config["k"] = k
    if architecture == "matching_pursuit":
        config |= {"max_iterations": k, "residual_threshold": 1e-2}
    return config


def _tensors(architecture: str, d_in: int, d_out: int, d_sae: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    read = normalize(torch.randn(d_sae, d_in, generator=generator), dim=1)
    rows = read if d_out == d_in else normalize(torch.randn(d_sae, d_out, generator=generator))
    sizes = {"b_dec": (d_out,), "W_skip": (d_out, d_in)}
    tensors = {}
    for name in TENSORS[architecture]:
        if name in _SMALL:
            tensors[name] = 0.1 * torch.randn(sizes.get(name, (d_sae,)), generator=generator)
        elif name == "threshold":
            tensors[name] = 0.5 + torch.rand(d_sae, generator=generator)
        else:
            tensors[name] = read.T.contiguous() if name == "W_enc" else rows.clone()
    return tensors
