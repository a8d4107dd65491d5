"""What was understood of an SAE's files, in words, and who says so."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo, site_width
from pytest_sae.doctor.elsewhere import OtherSite
from pytest_sae.errors import SiteError
from pytest_sae.models.processing import declared

if TYPE_CHECKING:
    from pytest_sae.dictionaries.content import Content
    from pytest_sae.dictionaries.spec import SAESpec

CONTEXT = 128  # tokens of a text at most
_L0_KEYS = ("l0", "average_l0", "mean_l0", "k", "kval_topk")
_L0_PATH = re.compile(r"(?:average_)?l0[_-](\d+)")
_BOS = {
    None: "not declared, so texts begin with it",
    True: "texts begin with it",
    False: "texts do not begin with it",
}


def of_files(
    dictionary: Dictionary, content: Content | None, spec: SAESpec, dtype: str
) -> dict[str, str]:
    """Return what is known before any model is loaded, by subject.

    Args:
        dictionary: as it was made of the files.
        content: of the files, None where another package read them.
        spec: how it was named.
        dtype: that is computed in.
    """
    info = dictionary.info
    forced = "as --sae says" if spec.family else "recognised by its content"
    k = f", k {info.k}" if info.k else ""
    context = f"{CONTEXT} tokens"
    if info.context_size:
        context = f"{min(CONTEXT, info.context_size)} tokens of {info.context_size} in training"
    written = "" if info.hook_out in (None, info.hook_in) else f", writes {info.hook_out}"
    return {
        "format": f"{info.family}, {forced}",
        "architecture": f"{dictionary.d_sae} latents of {site_width(dictionary)} inputs{k}",
        "site": f"{info.hook_in}{written}",
        "model": str(info.model),
        "normalisation": _normalisation(content),
        "processing": _processing(info),
        "BOS": _BOS[info.prepend_bos],
        "context": context,
        "dtype": f"stored in {_stored_types(content)}, computed in {dtype}",
        **({"remarks": "; ".join(info.remarks)} if info.remarks else {}),
    }


def of_site(place: OtherSite) -> str:
    """Return where it reads and writes, as hook and module.

    Args:
        place: of the model.
    """
    read = f"{place.site.hook_name} ({place.site.module}, {place.site.reads})"
    if place.site_out is place.site:
        return read
    return f"{read}, writes {place.site_out.hook_name} ({place.site_out.module})"


def declared_l0(content: Content | None, dictionary: Dictionary, path: str) -> float | None:
    """Return how many latents are active on a token by what its files or its path say.

    Args:
        content: of the files, None where another package read them.
        dictionary: as it was made of them.
        path: of the files.

    Returns:
        1 or more; None where nothing says it.
    """
    if content and "prefix" in content.settings:
        return None  # what is declared is that of all latents
    values = dict(reversed(list(_flat(content.config)))) if content else {}
    for key in _L0_KEYS:
        value = values.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 1:
            return float(value)
    if dictionary.info.k:
        return float(dictionary.info.k)
    in_path = _L0_PATH.search(path)
    return float(in_path[1]) if in_path else None


def _stored_types(content: Content | None) -> str:
    tensors = content.tensors.values() if content else ()
    return ", ".join(sorted({str(t.dtype).removeprefix("torch.") for t in tensors})) or "unknown"


def _normalisation(content: Content | None) -> str:
    """What is said about the normalisation of activations, and by whom."""
    if content is None:
        return "the affair of its package"
    said = {f"{name} = {value}": "--sae" for name, value in content.settings.items() if _norm(name)}
    said |= {
        f"{name} = {value}": "its configuration"
        for name, value in _flat(content.config)
        if _norm(name) and f"{name} = {value}" not in said
    }
    told = [f"{each} ({by})" for each, by in said.items()]
    return ", ".join(told) or "none, for its files say nothing of it"


def _norm(name: str) -> bool:
    return "norm" in name and "decoder" not in name and "init" not in name


def _processing(info: DictionaryInfo) -> str:
    try:
        done = declared(info.trained_on)
    except SiteError as error:
        return str(error)
    on = [name for name, value in vars(done).items() if value]
    if on:
        return f"{', '.join(on)} (declared)"
    if info.perhaps:
        return f"none is assumed, and nothing says whether there was {', '.join(info.perhaps)}"
    kind = info.trained_on.get("model_class_name")
    if kind not in (None, "HookedTransformer"):
        return f"none: a model of the class {kind} has none"
    return "none, for none is declared"


def _flat(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every plain value of a configuration, however deep, by its own name."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        elif value is not None:
            yield name, value
