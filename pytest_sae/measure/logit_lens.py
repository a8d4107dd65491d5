"""Which tokens a latent's written direction makes likelier, through the unembedding alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pytest_sae.activations.latents import Latents
from pytest_sae.activations.pieces import readable
from pytest_sae.models import blocks
from pytest_sae.models.absent import AbsentModel
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.site import Site

_BLOCK_BYTES = 128 * 2**20  # of one block's logits


def top_tokens(latents: Latents, indices: Sequence[int], count: int = 10) -> list[tuple[str, ...]]:
    """Return the tokens whose logits each latent's decoder row raises most.

    Direct logit attribution: `logits = W_U (g * d)` for the row d, the scale g of the model's own
    final norm, and the unembedding W_U. For a layer norm d's own mean is taken off first, as the
    norm does; the division by the stream's size, which depends on the token, changes no order and
    is left out, as are all biases and the effect that later blocks may have.

    Args:
        latents: of a dictionary that writes to the residual stream.
        indices: which latents.
        count: tokens for each.

    Returns:
        For each latent its tokens as text, the most raised first. Nothing for any latent where the
        model has no unembedding, the decoder is not affine, or what is written is not added to the
        residual stream (the hidden layer of an MLP, the heads before their projection).
    """
    model, rows = latents.model, latents.dictionary.decoder_rows
    if isinstance(model, AbsentModel):
        return [()] * len(indices)
    unembedding = model.hf.get_output_embeddings()
    if unembedding is None or rows is None or not _adds_to_stream(latents.written_site, model):
        return [()] * len(indices)
    known = min(len(unembedding.weight), len(model.tokenizer))  # the rest only fills up the matrix
    weight = unembedding.weight[:known].float()
    found: list[tuple[str, ...]] = []
    with torch.no_grad():
        for block in torch.as_tensor(indices).split(max(1, _BLOCK_BYTES // (4 * known))):
            written = normed(rows[block.to(rows.device)].to(weight), final_norm(model.hf))
            top = (written @ weight.T).topk(min(count, known)).indices.tolist()
            found += [readable(ids, model.tokenizer) for ids in top]
    return found


def normed(directions: Tensor, norm: nn.Module | None) -> Tensor:
    """Return what a norm makes of directions, but for dividing by the input's size.

    Args:
        directions: (latent, d).
        norm: the final norm of the model, None if it has none.

    Returns:
        (latent, d).
    """
    if norm is None:
        return directions
    if isinstance(norm, nn.LayerNorm):
        directions = directions - directions.mean(-1, keepdim=True)
    return directions * norm_scale(norm, directions)


def norm_scale(norm: nn.Module, like: Tensor) -> Tensor:
    """Return the scale of a layer norm or RMS norm, as its own code applies it.

    The weight of some (Gemma's) is an offset from 1. A vector of ones with alternating signs has
    mean 0 and mean square 1, so the norm only scales it; the difference to its opposite has no
    bias.

    Args:
        norm: a layer norm or an RMS norm.
        like: of any shape (..., d); its width, dtype and device are taken.

    Returns:
        (d,).
    """
    signs = 1.0 - 2.0 * (torch.arange(like.shape[-1], device=like.device) % 2)
    weight = next(norm.parameters(), like)
    probe = signs.to(weight.dtype)
    scale: Tensor = signs * (norm(probe[None])[0] - norm(-probe[None])[0]).to(like) / 2
    return scale


def final_norm(hf: Any) -> nn.Module | None:
    """Return the norm between the last block and the unembedding, None if there is none.

    It stands beside the list of blocks, most often after it (a norm of the embeddings stands
    before it, but so does OPT's final norm), and holds one weight per coordinate.
    """
    path, _ = blocks.find_blocks(hf)
    siblings = hf.get_submodule(path.rpartition(".")[0]).children()
    found = [module for module in siblings if _is_norm(module)]
    return found[-1] if found else None


def _is_norm(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(module, nn.LayerNorm) or (isinstance(weight, Tensor) and weight.ndim == 1)


def _adds_to_stream(site: Site, model: LanguageModel) -> bool:
    if site.stream or site.middle or site.layer < 0 or site.side == "input":
        return site.stream or site.middle
    path, modules = blocks.find_blocks(model.hf)
    block = modules[site.layer]
    writers = (blocks.attention_writer(block), blocks.mlp_writer(block))
    return site.module in {f"{path}.{site.layer}.{part}" for part in writers}
