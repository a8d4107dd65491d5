"""The parts of a transformer, found by the shape of its module tree and not by its class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from pytest_sae.errors import SiteError

_ATTENTION = ("self_attn", "attn", "attention", "self_attention")
_MLP = ("mlp", "feed_forward", "ffn", "block_sparse_moe")
_FIRST_NORM = (
    "input_layernorm", "ln_1", "norm_1", "self_attn_layer_norm", "attn_norm",
    "attention_layernorm", "ln_attn",
)  # fmt: skip
_SECOND_NORM = (
    "pre_feedforward_layernorm", "ln_2", "norm_2", "mlp_norm", "feedforward_layernorm", "ln_mlp",
    "final_layer_norm",
)  # fmt: skip
_HEADS_OUT = ("o_proj", "c_proj", "out_proj", "dense", "wo", "out_lin", "Wo", "o")
_MLP_IN = (
    "gate_proj", "c_fc", "dense_h_to_4h", "fc1", "fc_in", "w1", "lin1", "gate_up_proj", "Wi",
    "up_proj",
)  # fmt: skip
_MLP_OUT = ("down_proj", "c_proj", "dense_4h_to_h", "fc2", "fc_out", "w2", "lin2", "Wo")
_FUSED = ("gate_up_proj", "Wi")  # both halves of a gated MLP's first projection, the gate first

Finder = Callable[[nn.Module], "str | None"]


def find_blocks(hf: Any) -> tuple[str, nn.ModuleList]:
    """Return the path and the list of the model's blocks, first to last.

    Raises:
        SiteError: no module list is as long as the configuration says the model is deep.
    """
    depth = hf.config.get_text_config().num_hidden_layers
    lists = [item for item in hf.named_modules() if isinstance(item[1], nn.ModuleList)]
    # A model of images and texts may have as many blocks for both.
    text = [item for item in lists if "vision" not in item[0] and "audio" not in item[0]]
    for path, module in text:
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return path, module
    found = ", ".join(f"{path} ({len(module)})" for path, module in lists) or "none"
    raise SiteError(
        f"{type(hf).__name__} has no list of {depth} blocks (module lists there: {found}): "
        "only models with their blocks in one list can be evaluated"
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


def second_norm(block: nn.Module) -> str | None:
    """Return the path of the norm before the MLP.

    `post_attention_layernorm` is that norm in Llama; where there are norms after the MLP as well
    (Gemma 2, OLMo 2) it is the norm after the attention, except in GLM 4, which has both.
    """
    found = _first(block, _SECOND_NORM)
    if found or (has_post_norms(block) and not hasattr(block, "post_self_attn_layernorm")):
        return found
    return _first(block, ("post_attention_layernorm",))


def middle(block: nn.Module) -> str | None:
    """Return the path of the module that reads the stream between attention and MLP.

    The norm before the MLP, or the MLP itself where the norms come after (OLMo 2). A block whose
    norms are in the stream itself (BERT) has no such module.
    """
    if second_norm(block) is None and not has_post_norms(block):
        return None
    return second_norm(block) or mlp(block)


def attention_writer(block: nn.Module) -> str | None:
    """Return the path of the module whose output the attention adds to the stream.

    Gemma 2 and 3 and OLMo 2 put a norm after the attention, and it is what they add; BERT's
    attention adds the stream by itself, to its last projection.
    """
    if has_post_norms(block):
        return _first(block, ("post_self_attn_layernorm", "post_attention_layernorm"))
    return _bert(block, "attention.output.dense") or _mpnet(block) or attention(block)


def mlp_writer(block: nn.Module) -> str | None:
    """Return the path of the module whose output the MLP adds to the stream."""
    after = _first(block, ("post_feedforward_layernorm", "post_mlp_layernorm"))
    return after or mlp(block) or mlp_out(block)


def mlp_reader(block: nn.Module) -> str | None:
    """Return the path of the module whose input is the MLP's."""
    return mlp(block) or mlp_in(block)


def mlp_end(block: nn.Module) -> str | None:
    """Return the path of the module whose output is the MLP's, before any norm."""
    return mlp(block) or mlp_out(block)


def heads_out(block: nn.Module) -> str | None:
    """Return the path of the attention's output projection; its input is the heads' outputs."""
    return _inside(block, attention(block), _HEADS_OUT)


def mlp_in(block: nn.Module) -> str | None:
    """Return the path of the MLP's projection before the nonlinearity (the gate's, if gated)."""
    inside = _inside(block, mlp(block), _MLP_IN)
    return inside or _first(block, _MLP_IN) or _bert(block, "intermediate.dense")


def mlp_gated(block: nn.Module) -> str | None:
    """Return the path of a gated MLP's other projection, which no nonlinearity follows."""
    gate = mlp_in(block)
    if gate is None or is_fused(gate):
        return gate
    gated = gate.endswith("gate_proj")
    return _inside(block, mlp(block), ("up_proj",)) if gated else None


def mlp_out(block: nn.Module) -> str | None:
    """Return the path of the MLP's last projection; its input is the MLP's hidden layer."""
    inside = _inside(block, mlp(block), _MLP_OUT)
    return inside or _first(block, _MLP_OUT) or _bert(block, "output.dense")


def is_fused(path: str) -> bool:
    """Return whether a projection gives the gate's half and the other half side by side."""
    return path.rsplit(".", 1)[-1] in _FUSED


def has_post_norms(block: nn.Module) -> bool:
    """Return whether a norm follows the MLP, and is what is added to the stream."""
    return hasattr(block, "post_feedforward_layernorm") or hasattr(block, "post_mlp_layernorm")


def norms(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Give path and module of every norm inside."""
    for path, each in module.named_modules():
        if path and "norm" in type(each).__name__.lower():
            yield path, each


def _bert(block: nn.Module, path: str) -> str | None:
    """The path, in a block that keeps its MLP in two parts named as BERT's."""
    parts = hasattr(block, "intermediate") and hasattr(block, "output")
    return path if parts and path in {each for each, _ in block.named_modules()} else None


def _mpnet(block: nn.Module) -> str | None:
    return _bert(block, "attention.attn.o")


def _first(module: nn.Module, names: tuple[str, ...]) -> str | None:
    children = dict(module.named_children())
    return next((name for name in names if name in children), None)


def _inside(block: nn.Module, part: str | None, names: tuple[str, ...]) -> str | None:
    if part is None:
        return None
    paths = [path for path, _ in block.get_submodule(part).named_modules() if path]
    for name in names:
        for path in paths:
            # One of several experts is not the MLP.
            if path.rsplit(".", 1)[-1] == name and "expert" not in path:
                return f"{part}.{path}"
    return None
