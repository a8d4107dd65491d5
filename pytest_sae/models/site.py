"""Where an SAE reads and writes: hook names, translated to modules of a Hugging Face model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

from torch import nn

from pytest_sae.errors import SiteError
from pytest_sae.models import blocks, processing_effects
from pytest_sae.models.processing import NONE, Processing

Side = Literal["input", "output"]
View = Literal[
    "as it is",
    "centred",
    "normalised",
    "folded",  # normalised, and what reads it ignores its mean
    "without value bias",
    "without folded value bias",
]
Holds = Literal["stream", "norm", "normalised", "heads", "gate", "gated", "inner"]


class _Hook(NamedTuple):
    find: blocks.Finder
    side: Side
    holds: Holds


def _block(_: nn.Module) -> str:
    return ""


# TransformerLens' names inside a block (its 2.x and its bridge's), by what they mean there.
_HOOKS = {
    "hook_resid_pre": _Hook(_block, "input", "stream"),
    "hook_in": _Hook(_block, "input", "stream"),
    "hook_resid_mid": _Hook(blocks.middle, "input", "stream"),
    "hook_resid_post": _Hook(_block, "output", "stream"),
    "hook_out": _Hook(_block, "output", "stream"),
    "hook_attn_out": _Hook(blocks.attention_writer, "output", "stream"),
    "hook_mlp_out": _Hook(blocks.mlp_writer, "output", "stream"),
    "attn.hook_z": _Hook(blocks.heads_out, "input", "heads"),
    "attn.hook_out": _Hook(blocks.attention, "output", "stream"),
    "ln1.hook_out": _Hook(blocks.first_norm, "output", "norm"),
    "ln1.hook_normalized": _Hook(blocks.first_norm, "output", "normalised"),
    "ln2.hook_out": _Hook(blocks.mlp_reader, "input", "norm"),
    "ln2.hook_normalized": _Hook(blocks.second_norm, "output", "normalised"),
    "mlp.hook_in": _Hook(blocks.mlp_reader, "input", "norm"),
    "mlp.hook_pre": _Hook(blocks.mlp_in, "output", "gate"),
    "mlp.hook_pre_linear": _Hook(blocks.mlp_gated, "output", "gated"),
    "mlp.hook_post": _Hook(blocks.mlp_out, "input", "inner"),
    "mlp.hook_out": _Hook(blocks.mlp_end, "output", "stream"),
}
_MIDDLE = "hook_resid_mid"
_WHY_NOT = {
    _MIDDLE: (
        "; its blocks have no stream between attention and MLP: they run side by side, or their "
        "norms are in the stream"
    ),
    "hook_mlp_in": (
        "; in TransformerLens it is the stream before the MLP's norm, and SAEs are published under "
        "this name that read what the norm gives: name hook_resid_mid or mlp.hook_in"
    ),
}

OUTSIDE = -1  # layer of a module that is in no block
BESIDE = "+"  # between the names of sites whose tensors stand side by side


@dataclass(frozen=True)
class Site:
    """One tensor (text, pos, d) inside a model, or several side by side.

    Args:
        module: path of a module of the Hugging Face model, such as `model.layers.3.mlp`.
        side: whether the tensor is made of the module's output or its input.
        layer: index of the block that it belongs to, -1 outside the blocks.
        hook_name: as the SAE declares it.
        stream: whether it is all that passes from one block to the next (a block's whole input or
            output), so that the layers above need nothing else.
        view: what is made of the module's tensor, so that it is what the SAE was trained on.
        columns: (first, end) of the dimensions that are meant, such as one head's; None for all.
        middle: whether it is the stream between attention and MLP, which two modules read.
        parts: the sites whose tensors stand side by side here, for what reads several at once;
            such a site can be read and not written.
    """

    module: str
    side: Side
    layer: int
    hook_name: str
    stream: bool
    view: View = "as it is"
    columns: tuple[int, int] | None = None
    middle: bool = False
    parts: tuple[Site, ...] = ()

    @property
    def single(self) -> tuple[Site, ...]:
        """The sites of one module each that it is made of: its parts, or itself."""
        return self.parts or (self,)

    @property
    def tensor(self) -> str:
        """Which tensor of the model it is: the same for two hook names of the same one."""
        return f"{self.module}:{self.reads}"

    @property
    def reads(self) -> str:
        """What of the module is read, such as `output`: with `module` it names the tensor."""
        if self.parts:
            return BESIDE.join(part.reads for part in self.parts)
        view = "" if self.view == "as it is" else f"{self.view} "
        columns = f"[{self.columns[0]}:{self.columns[1]}]" if self.columns else ""
        return f"{view}{'middle ' if self.middle else ''}{self.side}{columns}"


def resolve(
    hook_name: str, hf_model: Any, processing: Processing = NONE, head: int | None = None
) -> Site:
    """Return the site that a hook name means in this model.

    Args:
        hook_name: TransformerLens' (`blocks.3.hook_resid_post`) or a module path of the Hugging
            Face model (`model.layers.3.mlp`, or `layers.3.mlp` below its base model); a path may
            end with `.input` or `.output`, which is the default. Several, joined by `+`, stand
            side by side.
        hf_model: a language model of transformers.
        processing: what was done to the model before the SAE was trained on it.
        head: index of the only attention head that is read, None for all of them.

    Raises:
        SiteError: the model has no such layer, hook, head or module, or what was read cannot be
            made of what the unprocessed model has; the message lists what it has.
    """
    if BESIDE in hook_name:
        names = [name.strip() for name in hook_name.split(BESIDE)]
        return _beside([resolve(name, hf_model, processing, head) for name in names], hook_name)
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", hook_name)
    if match:
        site, holds = _transformer_lens(hook_name, int(match[1]), match[2], hf_model)
    else:
        site, holds = _module_path(hook_name, hf_model)
    if holds in ("gate", "gated") and blocks.is_fused(site.module):
        site = replace(site, columns=_half(hf_model.get_submodule(site.module), holds))
    if head is not None:
        site = replace(site, columns=_head(site, holds, head, hf_model))
    return replace(site, view=_view(site, holds, hf_model, processing))


def block_input(layer: int, hf_model: Any) -> Site:
    """Return the site of the residual stream before a block.

    Args:
        layer: of the block, from 0.
        hf_model: model of transformers.
    """
    return resolve(f"blocks.{layer}.hook_resid_pre", hf_model)


def _beside(parts: Sequence[Site], hook_name: str) -> Site:
    if len({(part.module, part.reads) for part in parts}) < len(parts):
        raise SiteError(
            f"{hook_name} names a site twice. Expected different ones: what was trained on several "
            "models cannot be evaluated on one."
        )
    module = BESIDE.join(part.module for part in parts)
    layer = max(part.layer for part in parts)
    return Site(module, "output", layer, hook_name, stream=False, parts=tuple(parts))


def known_hooks(block: nn.Module) -> list[str]:
    """Return the hook names, without `blocks.L.`, that modules of this block emit."""
    return [name for name, hook in _HOOKS.items() if hook.find(block) is not None]


def _transformer_lens(name: str, layer: int, hook: str, hf: Any) -> tuple[Site, Holds]:
    path, modules = blocks.find_blocks(hf)
    if layer >= len(modules):
        raise SiteError(
            f"{name}: {type(hf).__name__} has {len(modules)} blocks, 0 to {len(modules) - 1}: was "
            "the SAE trained on another model? Pass --sae-model."
        )
    known = _HOOKS.get(hook)
    part = known.find(modules[layer]) if known else None
    if known is None or part is None:
        raise SiteError(
            f"{name}: no module of {type(hf).__name__} emits {hook}{_WHY_NOT.get(hook, '')}. Its "
            f"blocks have: {', '.join(known_hooks(modules[layer]))}; or give the path of one of "
            f"its modules, such as {path}.{layer}"
        )
    module = f"{path}.{layer}" + (f".{part}" if part else "")
    site = Site(module, known.side, layer, name, stream=not part, middle=hook == _MIDDLE)
    return site, known.holds


def _module_path(name: str, hf: Any) -> tuple[Site, Holds]:
    paths = {path for path, _ in hf.named_modules() if path}
    module, side = _known_path(name, hf, paths), "output"
    if module is None:
        start, _, end = name.rpartition(".")
        module, side = _known_path(start, hf, paths) if end in ("input", "output") else None, end
    if module is None:
        raise SiteError(_unknown_path(name, hf, paths))
    root, modules = blocks.find_blocks(hf)
    which: Side = "input" if side == "input" else "output"
    match = re.fullmatch(rf"{re.escape(root)}\.(\d+)(?:\.(.+))?", module)
    if match is None:
        return Site(module, which, OUTSIDE, name, stream=False), "inner"
    layer, part = int(match[1]), match[2] or ""
    site = Site(module, which, layer, name, stream=not part)
    return site, _held(modules[layer], part, which)


def _known_path(name: str, hf: Any, paths: set[str]) -> str | None:
    prefix = getattr(hf, "base_model_prefix", "")
    root, _ = blocks.find_blocks(hf)
    candidates = [name, f"{prefix}.{name}", name.removeprefix(f"{prefix}.")]
    # In a model of images and texts the path of a text model's block has a part more.
    above, last = root.rpartition(".")[::2]
    match = re.fullmatch(rf"(?:(.+)\.)?{re.escape(last)}(\.\d+.*)", name)
    if match and set((match[1] or "").split(".")) <= {*above.split("."), ""}:
        candidates.append(root + match[2])
    return next((path for path in candidates if path in paths), None)


def _held(block: nn.Module, part: str, side: Side) -> Holds:
    """What a hook that reads the same tensor as a module path holds."""
    if side == "input" and part in (blocks.first_norm(block), blocks.second_norm(block)):
        return "stream"
    for hook in _HOOKS.values():
        if hook.find(block) == part and hook.side == side and hook.holds not in ("gate", "gated"):
            return "norm" if hook.holds == "normalised" else hook.holds
    return "inner"


def _half(projection: Any, holds: Holds) -> tuple[int, int]:
    half = projection.out_features // 2
    return (0, half) if holds == "gate" else (half, 2 * half)


def _head(site: Site, holds: Holds, head: int, hf: Any) -> tuple[int, int]:
    heads = hf.config.get_text_config().num_attention_heads
    if holds != "heads":
        raise SiteError(
            f"{site.hook_name}: an SAE of one head ({head}) reads blocks.L.attn.hook_z, "
            "where the heads are side by side"
        )
    if not 0 <= head < heads:
        raise SiteError(f"{site.hook_name}: head {head} of {heads}, 0 to {heads - 1}")
    projection = hf.get_submodule(site.module)
    width = getattr(projection, "in_features", None) or projection.weight.shape[0]
    return head * width // heads, (head + 1) * width // heads


def _view(site: Site, holds: Holds, hf: Any, processing: Processing) -> View:
    """What must be made of a module's tensor, so that it is what the SAE was trained on."""
    if processing and site.layer == OUTSIDE:
        raise SiteError(
            f"{site.hook_name}: the SAE was trained on a processed model, and what that does to a "
            "module outside the blocks is not known: name a hook of a block"
        )
    if holds == "normalised":
        processing_effects.require_one_meaning(site.hook_name, hf, site.module, processing)
        return (
            "folded" if processing_effects.drops_mean(hf, site.module, processing) else "normalised"
        )
    if holds == "norm" and processing.fold_ln:
        raise SiteError(
            f"{site.hook_name}: the SAE was trained on a model with fold_ln, where norms lack "
            "their weights: name hook_normalized of the norm (blocks.L.ln2.hook_normalized)"
        )
    if holds == "stream" and processing.center_writing_weights:
        return "centred" if processing_effects.centres(site.hook_name, hf) else "as it is"
    if holds == "heads" and processing.fold_value_biases:
        return "without folded value bias" if processing.fold_ln else "without value bias"
    return "as it is"


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
