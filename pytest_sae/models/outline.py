"""What of a model is known without its weights: its sites, and how wide they are.

width(model, site) -> int | None
with_norms(hf)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pytest_sae.models import blocks
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.site import Site

_PASSING = (
    blocks.attention,
    blocks.attention_writer,
    blocks.first_norm,
    blocks.middle,
    blocks.mlp,
    blocks.mlp_end,
    blocks.mlp_reader,
    blocks.mlp_writer,
    blocks.second_norm,
)


@torch.no_grad()
def with_norms(hf: Any) -> None:
    """Give the norms of a model without weights some: what they do is found by trying them.

    Args:
        hf: model of transformers on the meta device.
    """
    for _, norm in blocks.norms(hf):
        norm.to_empty(device="cpu")
        for name, parameter in norm.named_parameters():
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)


def width(model: LanguageModel, site: Site) -> int | None:
    """Return how wide a site is by the sizes of its modules, None where these do not say.

    Args:
        model: of the site, with or without weights.
        site: with its parts.
    """
    widths = [_of_one(model, each) for each in site.single]
    known = [each for each in widths if each is not None]
    return sum(known) if len(known) == len(widths) else None


def _of_one(model: LanguageModel, site: Site) -> int | None:
    if site.columns is not None:
        return site.columns[1] - site.columns[0]
    module: nn.Module = model.hf.get_submodule(site.module)
    weight = getattr(module, "weight", None)
    if site.stream or site.middle or weight is None or weight.dim() != 2:
        return _of_stream(model, module, site)
    out, into = weight.shape if isinstance(module, nn.Linear) else weight.shape[::-1]
    return int(out if site.side == "output" else into)


def _of_stream(model: LanguageModel, module: nn.Module, site: Site) -> int | None:
    """Norms, attentions, MLPs and blocks pass the stream on; of other modules nothing is known."""
    if site.layer < 0:
        return None
    block = blocks.find_blocks(model.hf)[1][site.layer]
    passing = {"", *(find(block) for find in _PASSING)}
    names = {path for path, each in block.named_modules() if each is module}
    return int(model.hf.config.get_text_config().hidden_size) if names & passing else None
