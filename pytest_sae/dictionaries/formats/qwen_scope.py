"""Qwen Scope: `layerN.sae.pt`, whose repository's name says the model and k."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_sae.dictionaries import preflight
from pytest_sae.dictionaries.content import Content, check_settings, declared, whole_setting
from pytest_sae.dictionaries.formats import plain
from pytest_sae.dictionaries.keys import Keys
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    import torch

    from pytest_sae.dictionaries.base import Dictionary

NAME = "qwen_scope"
KEYS = Keys()  # its files come without a configuration
_FILE = re.compile(r"layer(\d+)\.sae\.(?:pt|safetensors)")
_REPOSITORY = re.compile(r"SAE-Res-(?P<model>.+?)-W\d+K-L0_(?P<k>\d+)")
_TENSORS = {"W_enc", "W_dec", "b_enc", "b_dec"}


def recognise(content: Content) -> bool:
    """Whether the file has the release's name and its four tensors, and no configuration."""
    named = _FILE.fullmatch(content.weights.name)
    return bool(named) and content.tensors.keys() == _TENSORS and not content.config


def build(content: Content, *, device: str, dtype: torch.dtype | None) -> Dictionary:
    """Return z = the k largest of x W_encᵀ + b_enc with their signs, x̂ = z W_decᵀ + b_dec.

    Model and k stand in the repository's name, `SAE-Res-MODEL-W32K-L0_50`, which a download has in
    its path; the settings `model` and `k` say them where it has not.

    Raises:
        DictionaryError: anything that `preflight` refuses, or no k.
    """
    check_settings(content, NAME, ("k",))
    preflight.shapes(content.tensors, _shapes(content), content.source)
    w = content.tensors
    named = _REPOSITORY.search(content.weights.absolute().as_posix())
    layer = _FILE.fullmatch(content.weights.name)
    k = whole_setting(content, "k", most=len(w["b_enc"])) or (int(named["k"]) if named else 0)
    if not 0 < k <= len(w["b_enc"]):
        raise DictionaryError(
            f"{content.source} lies in no directory called SAE-Res-MODEL-W32K-L0_K, whose name says"
            f" how many latents a token has. Expected that: say --sae={NAME},k=50,model="
            f"Qwen/MODEL:{content.source} as its repository is called."
        )
    weights = plain.Plain(
        w["W_enc"], w["W_dec"].T, w["b_enc"], w["b_dec"], centred=False, k=k, signed=True
    )
    info = declared(
        content,
        f"{NAME}.topk",
        model=f"Qwen/{named['model']}" if named else None,
        hook_in=f"blocks.{layer[1]}.hook_resid_post" if layer else None,
        k=k,
    )
    return plain.build(NAME, weights, info, device=device, dtype=dtype)


def _shapes(content: Content) -> dict[str, tuple[int, ...]]:
    d_sae, d_in = preflight.matrix(content.tensors, "W_enc", content.source)
    sizes: dict[str, tuple[int, ...]] = {"W_enc": (d_sae, d_in), "W_dec": (d_in, d_sae)}
    return {**sizes, "b_enc": (d_sae,), "b_dec": (d_in,)}
