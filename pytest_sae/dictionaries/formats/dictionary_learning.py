"""The dictionary_learning library's `ae.pt`: its seven classes, told apart by their tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.content import Content, check_settings, declared
from pytest_sae.dictionaries.formats import nested
from pytest_sae.dictionaries.formats.dictionary_learning_keys import KEYS
from pytest_sae.dictionaries.formats.dictionary_learning_weights import (
    BUFFERS,
    CLASSES,
    check,
    encoder,
    one_form,
    with_one_threshold,
)
from pytest_sae.dictionaries.weights import computing_dtype, fingerprint
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    import torch

    from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo

__all__ = ["KEYS", "NAME", "SETTINGS", "belonging", "build", "module", "recognise"]

NAME = "dictionary_learning"
SETTINGS = ("dict_class", "prefix")
# Keys of other formats that share names of tensors.
_OTHERS = frozenset({"d_sae", "d_model", "metadata", "architecture", "activation", "act_fn"})
_LABELS = {
    "AutoEncoder": "standard",
    "AutoEncoderNew": "standard_new",
    "GatedAutoEncoder": "gated",
    "JumpReluAutoEncoder": "jumprelu",
    "AutoEncoderTopK": "topk",
    "BatchTopKSAE": "batchtopk",
    "MatryoshkaBatchTopKSAE": "matryoshka_batchtopk",
}
# What training scripts call submodules.
_SUBMODULES = {
    "resid_post": "hook_resid_post",
    "resid_pre": "hook_resid_pre",
    "resid": "hook_resid_post",
    "mlp_out": "hook_mlp_out",
    "mlp": "hook_mlp_out",
    "attn_out": "hook_attn_out",
    "attention_out": "hook_attn_out",
    "attn": "hook_attn_out",
}
# What the modules that they call so are given.
_INPUTS = {
    "hook_resid_post": "hook_resid_pre",
    "hook_resid_pre": "hook_resid_pre",
    "hook_mlp_out": "mlp.hook_in",
    "hook_attn_out": "ln1.hook_out",
}


def recognise(content: Content) -> bool:
    """Whether the configuration names one of its classes, or the tensors are one's and no other's.

    A JumpReLU file without a configuration is Gemma Scope's too, and computes the same.
    """
    trainer = content.config.get("trainer")
    if isinstance(trainer, Mapping) and str(trainer.get("dict_class")) in CLASSES:
        return True
    return not _OTHERS & content.config.keys() and bool(_by_tensors(content))


def build(content: Content, *, device: str, dtype: torch.dtype | None) -> Dictionary:
    """Build a dictionary that its `from_pretrained` would give.

    Settings: `dict_class` where no configuration says it (the tensors of AutoEncoderTopK and
    BatchTopKSAE are the same); `prefix`, a width of a Matryoshka one. AutoEncoder's decoder rows
    are brought to length 1 and its latents scaled along, as its own loader does.

    Raises:
        DictionaryError: anything that `preflight` refuses.
    """
    check_settings(content, NAME, SETTINGS)
    trainer = content.config.get("trainer")
    trainer = trainer if isinstance(trainer, Mapping) else {}
    kind = _class(content, trainer)
    tensors = with_one_threshold(kind, content.tensors)
    check(kind, tensors, content.source)
    whole, prefixes = one_form(kind, tensors), _prefixes(content)
    k = _k(content, trainer, kind, len(whole.reads))
    prefix = nested.prefix(content, prefixes)
    stored = whole.first(prefix)
    computing = computing_dtype(stored.named(), dtype)
    w = stored.to(device, computing)
    info = _info(content, trainer, kind, None if prefix else k)
    canonical = {"format": NAME, "class": kind, "dtype": str(computing)}
    if kind == "AutoEncoderTopK":
        canonical["k"] = str(k)
    return AffineDictionary(
        encode=encoder(kind, w, k),
        rows=w.writes,
        bias=w.after,
        encoder_rows=w.reads,
        info=replace(info, prefixes=prefixes),
        fingerprint=fingerprint(stored.named(), canonical),
    )


def _by_tensors(content: Content) -> list[str]:
    names = content.tensors.keys()
    return [
        kind
        for kind, needed in CLASSES.items()
        if set(needed) <= names <= {*needed, *BUFFERS}
        # Plain names belong to many formats; k and group_sizes beside them only to this one.
        and (kind != "JumpReluAutoEncoder")
        and not (kind == "AutoEncoderTopK" and "k" not in names and not content.config)
    ]


def _class(content: Content, trainer: Mapping[str, Any]) -> str:
    given, stored = content.settings.get("dict_class"), trainer.get("dict_class")
    found = [str(given or stored)] if given or stored else _by_tensors(content)
    unknown = stored is not None and str(stored) not in CLASSES
    if unknown and given not in CLASSES:
        fitting = "|".join(_by_tensors(content)) or "CLASS"
        raise DictionaryError(
            f"{content.source} was trained as dict_class = {stored!r}, which is not read here. "
            f"Expected {', '.join(CLASSES)}: where it computes what one of them does, say "
            f"--sae={NAME},dict_class={fitting}:{content.source}"
        )
    if given and stored and not unknown and given != stored:
        raise DictionaryError(
            f"{content.source} declares dict_class = {stored!r} and is given {given!r}. Expected "
            "the class that it was trained as: leave the setting out."
        )
    if len(found) == 1 and found[0] in CLASSES:
        return found[0]
    said = " or ".join(found) or "no class that its tensors would fit"
    raise DictionaryError(
        f"{content.source} is of {said}. Expected one of {', '.join(CLASSES)}: copy its "
        f"config.json beside it, or say --sae={NAME},dict_class=...:{content.source}"
    )


def _prefixes(content: Content) -> tuple[int, ...]:
    sizes = content.tensors.get("group_sizes")
    if sizes is None:
        return ()
    d_sae = content.tensors["W_dec"].shape[0] if "W_dec" in content.tensors else 0
    whole = sizes.dim() == 1 and not sizes.is_floating_point() and len(sizes) > 0
    if not whole or int(sizes.min()) < 1 or int(sizes.sum()) != d_sae:
        raise DictionaryError(
            f"{content.source}: group_sizes {sizes.flatten()[:8].tolist()} do not add up to "
            f"{d_sae} latents. Expected one size for each group: save it again."
        )
    return tuple(sizes.cumsum(0).tolist())


def _k(content: Content, trainer: Mapping[str, Any], kind: str, d_sae: int) -> int | None:
    """k of the file and of the configuration, which must be the same."""
    tensor, found = content.tensors.get("k"), {}
    if tensor is not None:
        found["the weights"] = tensor.item() if tensor.numel() == 1 else tuple(tensor.shape)
    if trainer.get("k") is not None:
        found["config.json"] = trainer["k"]
    if not found and kind != "AutoEncoderTopK":
        return None
    values = {preflight.count({"k": k}, "k", content.source, d_sae) for k in found.values()}
    if len(values) != 1:
        said = " and ".join(f"k = {k} in {place}" for place, k in found.items()) or "no k"
        raise DictionaryError(
            f"{content.source} has {said}. Expected one number from 1 to {d_sae}: do the files "
            "belong together?"
        )
    return values.pop()


def _info(content: Content, trainer: Mapping[str, Any], kind: str, k: int | None) -> DictionaryInfo:
    reads, writes = belonging(content, module(trainer))
    return declared(
        content,
        f"{NAME}.{_LABELS[kind]}",
        model=trainer.get("lm_name"),
        hook_in=reads,
        hook_out=writes,
        context_size=_buffer(content).get("ctx_len"),
        k=k,
    )


def belonging(content: Content, named: object) -> tuple[object, object]:
    """Return where a dictionary reads and writes, the latter None where that is the same.

    Args:
        content: its configuration's `buffer` says whether the module's input was read, its output,
            or both.
        named: path of the module, or hook name of its output.

    Raises:
        DictionaryError: none of the three.
    """
    side = _buffer(content).get("io", "out")
    if side == "out" or not isinstance(named, str):
        return named, None
    if side not in ("in", "in_and_out"):
        raise DictionaryError(
            f"{content.source} declares buffer.io = {side!r}. Expected in, out or in_and_out: "
            "correct config.json."
        )
    block, _, hook = named.rpartition(".")
    reads = f"{block}.{_INPUTS[hook]}" if hook in _INPUTS else f"{named}.input"
    return reads, named if side == "in_and_out" else None


def _buffer(content: Content) -> Mapping[str, Any]:
    buffer = content.config.get("buffer")
    return buffer if isinstance(buffer, Mapping) else {}


def module(trainer: Mapping[str, Any]) -> object:
    """Return the module that a trainer's configuration names, or the hook of its output."""
    return _hook(trainer.get("submodule_name"), trainer.get("layer"))


def _hook(submodule: object, layer: object) -> object:
    """`resid_post_layer_8`, or the path of a module; nothing is guessed from the layer alone."""
    submodule, layer = _only(submodule), _only(layer)
    if not isinstance(submodule, str):
        return submodule
    match = re.fullmatch(r"(\w+?)_layer_?(\d+)", submodule)
    name, index = (match[1], match[2]) if match else (submodule, layer)
    if name in _SUBMODULES and isinstance(index, (int, str)) and not isinstance(index, bool):
        return f"blocks.{index}.{_SUBMODULES[name]}"
    return submodule


def _only(value: object) -> object:
    """What stands alone in a list, as scripts that train at several layers write it."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
