"""Where an SAE reads and writes: hook names, translated to modules of a Hugging Face model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from torch import nn

from pytest_sae.errors import SiteError
from pytest_sae.models import blocks

Reads = Literal["input", "output"]

# TransformerLens' names inside a block (its 2.x and its bridge's), by what they mean there.
_HOOKS: dict[str, tuple[blocks.Finder, Reads]] = {
    "hook_resid_pre": (lambda block: "", "input"),
    "hook_in": (lambda block: "", "input"),
    "hook_resid_post": (lambda block: "", "output"),
    "hook_out": (lambda block: "", "output"),
    "hook_attn_out": (blocks.attention_writer, "output"),
    "hook_mlp_out": (blocks.mlp_writer, "output"),
    "attn.hook_z": (blocks.heads_out, "input"),
    "ln1.hook_out": (blocks.first_norm, "output"),
    "ln2.hook_out": (blocks.mlp, "input"),
    "mlp.hook_in": (blocks.mlp, "input"),
    "mlp.hook_pre": (blocks.mlp_in, "output"),
    "mlp.hook_post": (blocks.mlp_out, "input"),
    "mlp.hook_out": (blocks.mlp, "output"),
    "attn.hook_out": (blocks.attention, "output"),
}

OUTSIDE = -1  # layer of a module that is in no block


@dataclass(frozen=True)
class Site:
    """One tensor (text, pos, d) inside a model.

    Args:
        module: path of a module of the Hugging Face model, such as `model.layers.3.mlp`.
        reads: whether the tensor is the module's output or its input.
        layer: index of the block that it belongs to, -1 outside the blocks.
        hook_name: as the SAE declares it.
        stream: whether it is all that passes from one block to the next (a block's whole input or
            output), so that the layers above need nothing else.
    """

    module: str
    reads: Reads
    layer: int
    hook_name: str
    stream: bool


def resolve(hook_name: str, hf_model: Any) -> Site:
    """Return the site that a hook name means in this model.

    Args:
        hook_name: TransformerLens' (`blocks.3.hook_resid_post`) or a module path of the Hugging
            Face model (`model.layers.3.mlp`, or `layers.3.mlp` below its base model).
        hf_model: a causal language model of transformers.

    Raises:
        SiteError: the model has no such layer, hook or module; the message lists what it has.
    """
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", hook_name)
    if match:
        return _transformer_lens(hook_name, int(match[1]), match[2], hf_model)
    return _module_path(hook_name, hf_model)


def block_input(layer: int, hf_model: Any) -> Site:
    """Return the site of the residual stream before a block."""
    return resolve(f"blocks.{layer}.hook_resid_pre", hf_model)


def known_hooks(block: nn.Module) -> list[str]:
    """Return the hook names, without `blocks.L.`, that modules of this block emit."""
    return [name for name, (find, _) in _HOOKS.items() if find(block) is not None]


def _transformer_lens(name: str, layer: int, hook: str, hf: Any) -> Site:
    path, modules = blocks.find_blocks(hf)
    if layer >= len(modules):
        raise SiteError(
            f"{name}: {type(hf).__name__} has {len(modules)} blocks, 0 to {len(modules) - 1}: was "
            "the SAE trained on another model? Pass --sae-model."
        )
    find, reads = _HOOKS.get(hook, (lambda block: None, "output"))
    part = find(modules[layer])
    if part is None:
        raise SiteError(
            f"{name}: no module of {type(hf).__name__} emits {hook}. Its blocks have: "
            f"{', '.join(known_hooks(modules[layer]))}; or give the path of one of its modules, "
            f"such as {path}.{layer}"
        )
    module = f"{path}.{layer}" + (f".{part}" if part else "")
    return Site(module, reads, layer, name, stream=not part)


def _module_path(name: str, hf: Any) -> Site:
    paths = {path for path, _ in hf.named_modules() if path}
    candidates = (name, f"{getattr(hf, 'base_model_prefix', '')}.{name}")
    module = next((path for path in candidates if path in paths), None)
    if module is None:
        raise SiteError(_unknown_path(name, hf, paths))
    root, _ = blocks.find_blocks(hf)
    match = re.fullmatch(rf"{re.escape(root)}\.(\d+)(\..+)?", module)
    if match is None:
        return Site(module, "output", OUTSIDE, name, stream=False)
    return Site(module, "output", int(match[1]), name, stream=match[2] is None)


def _unknown_path(name: str, hf: Any, paths: set[str]) -> str:
    root, modules = blocks.find_blocks(hf)
    near = get_close_matches(name, sorted(paths), n=3, cutoff=0.7)
    hint = f" (did you mean {', '.join(near)}?)" if near else ""
    inside = ", ".join(path for path, _ in modules[0].named_children())
    return (
        f"{type(hf).__name__} has no module {name!r}{hint}: its blocks are {root}.0 to "
        f"{root}.{len(modules) - 1}, with {inside} inside; hook names such as "
        f"blocks.0.hook_resid_post work too ({', '.join(known_hooks(modules[0]))})"
    )
