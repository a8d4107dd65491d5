"""How far a run in half precision is from float32, for its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pytest_sae.dictionaries.base import Contextual
from pytest_sae.models import precision
from pytest_sae.models.load import load as load_model

if TYPE_CHECKING:
    from pytest_sae.activations.store import Store
    from pytest_sae.dictionaries.base import Dictionary
    from pytest_sae.session.loaded import LoadedSAE

HALF = frozenset((torch.bfloat16, torch.float16))
TEXTS = 8  # as many are enough to see an overflow, or thresholds that are passed


def compared(
    sae: LoadedSAE, exact: Dictionary, texts: Sequence[str], store: Store
) -> dict[str, object]:
    """Return the figures of `models.precision` for what an SAE reads and makes of it.

    Args:
        sae: loaded in half precision, or on a model in it.
        exact: the same dictionary in float32.
        texts: a few.
        store: keeps the activations in float32, for which the model is loaded a second time.
    """
    bos = sae.dictionary.info.prepend_bos is not False
    try:
        full = _exact_activations(sae, texts, bos, store)
    except torch.OutOfMemoryError:
        return {"unknown": "no memory for the model in float32"}
    half = precision.activations(sae.model, sae.site, texts, bos)
    if isinstance(exact, Contextual):  # its latents are not of tokens alone
        return asdict(precision.differences(half, full, None))
    return asdict(precision.differences(half, full, (_encode(sae.dictionary), _encode(exact))))


def _exact_activations(sae: LoadedSAE, texts: Sequence[str], bos: bool, store: Store) -> Tensor:
    model = sae.model

    def make() -> dict[str, Tensor]:
        full = load_model(model.name, str(model.device), torch.float32)
        return {"x": precision.activations(full, sae.site, texts, bos)}

    key = {
        "step": "exact activations",
        "model": model.fingerprint,
        "tokenizer": model.tokenizer_fingerprint,
        "device": model.device.type,
        "site": sae.site.tensor,
        "texts": list(texts),
        "prepend_bos": bos,
    }
    return store.get(key, make)["x"]


def _encode(dictionary: Dictionary) -> precision.Encode:
    return lambda x: dictionary.encode(x.to(dictionary.device, dictionary.dtype))
