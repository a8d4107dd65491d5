"""The parts of a transformer, found by the shape of its module tree and not by its class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from pytest_sae.errors import SiteError

_ATTENTION = ("self_attn", "attn", "attention", "self_attention")
_MLP = ("mlp", "feed_forward", "ffn", "block_sparse_moe")
_FIRST_NORM = ("input_layernorm", "ln_1", "norm_1")
_HEADS_OUT = ("o_proj", "c_proj", "out_proj", "dense", "wo")
_MLP_IN = ("gate_proj", "c_fc", "dense_h_to_4h", "fc1", "fc_in", "w1")
_MLP_OUT = ("down_proj", "c_proj", "dense_4h_to_h", "fc2", "fc_out", "w2")

Finder = Callable[[nn.Module], "str | None"]


def find_blocks(hf: Any) -> tuple[str, nn.ModuleList]:
    """Return the path and the list of the model's blocks, first to last.

    Raises:
        SiteError: no module list is as long as the configuration says the model is deep.
    """
    depth = hf.config.get_text_config().num_hidden_layers
    lists = [item for item in hf.named_modules() if isinstance(item[1], nn.ModuleList)]
    for path, module in lists:
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return path, module
    found = ", ".join(f"{path} ({len(module)})" for path, module in lists) or "none"
    raise SiteError(
        f"{type(hf).__name__} has no list of {depth} blocks (module lists there: {found}): "
        "only decoder models with their blocks in one list can be evaluated"
    )


def attention(block: nn.Module) -> str | None:
    """Return the path of the block's attention, None if it has none."""
    return _first(block, _ATTENTION)


def mlp(block: nn.Module) -> str | None:
    """Return the path of the block's MLP, None if it has none as one module."""
    return _first(block, _MLP)


def first_norm(block: nn.Module) -> str | None:
    """Return the path of the norm before the attention."""
    return _first(block, _FIRST_NORM)


def attention_writer(block: nn.Module) -> str | None:
    """Return the path of the module whose output the attention adds to the stream.

    Gemma 2 and 3 and OLMo 2 put a norm after the attention, and it is what they add; the same
    name, `post_attention_layernorm`, is the norm before the MLP in Llama.
    """
    if _has_post_norms(block):
        return "post_attention_layernorm"
    return attention(block)


def mlp_writer(block: nn.Module) -> str | None:
    """Return the path of the module whose output the MLP adds to the stream."""
    if _has_post_norms(block):
        return "post_feedforward_layernorm"
    return mlp(block) or _first(block, _MLP_OUT)


def heads_out(block: nn.Module) -> str | None:
    """Return the path of the attention's output projection; its input is the heads' outputs."""
    return _inside(block, attention(block), _HEADS_OUT)


def mlp_in(block: nn.Module) -> str | None:
    """Return the path of the MLP's projection before the nonlinearity (the gate's, if gated)."""
    return _inside(block, mlp(block), _MLP_IN) or _first(block, _MLP_IN)


def mlp_out(block: nn.Module) -> str | None:
    """Return the path of the MLP's last projection; its input is the MLP's hidden layer."""
    return _inside(block, mlp(block), _MLP_OUT) or _first(block, _MLP_OUT)


def _has_post_norms(block: nn.Module) -> bool:
    return hasattr(block, "post_feedforward_layernorm")


def _first(module: nn.Module, names: tuple[str, ...]) -> str | None:
    children = dict(module.named_children())
    return next((name for name in names if name in children), None)


def _inside(block: nn.Module, part: str | None, names: tuple[str, ...]) -> str | None:
    if part is None:
        return None
    for path in _paths(block.get_submodule(part)):
        if path.rsplit(".", 1)[-1] in names and "experts" not in path:
            return f"{part}.{path}"
    return None


def _paths(module: nn.Module) -> Iterator[str]:
    return (path for path, _ in module.named_modules() if path)
