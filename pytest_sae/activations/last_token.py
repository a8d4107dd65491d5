"""One row per text: the activation of its last token, and what a dictionary makes of it.

last_rows(model, sites, tokens, store) -> one (text, d) tensor per site; one pass, cached
encode_rows(dictionary, x, work) -> (text, d_sae) sparse
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from pytest_sae.activations.codes import chunk_tokens
from pytest_sae.activations.sparse_rows import sparse_rows
from pytest_sae.activations.store import Store, Tensors
from pytest_sae.activations.work import Work
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.models import model as models
from pytest_sae.models import tf32, tokenize
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.site import Site
from pytest_sae.models.tokenize import Tokens, padded

VERSION = "1"  # part of the key: raise it when the same tokens give other rows


def last_rows(
    model: LanguageModel, sites: Sequence[Site], tokens: Tokens, store: Store
) -> tuple[Tensor, ...]:
    """Return the activations of each text's last own token, before an encoder's SEP.

    Only these rows are kept: a hundred data sets of long texts fit in memory. The pass ends at the
    last site.

    Args:
        model: run once per text.
        sites: where they are read, in one pass.
        tokens: of the texts.
        store: keeps them for every dictionary of the same model and sites.

    Returns:
        for each site (text, d) in the model's dtype, in the order of the texts.
    """
    key = {
        "step": "rows",
        "code": [VERSION, models.VERSION, tokenize.VERSION],
        "model": model.fingerprint,
        "dtype": str(model.dtype),
        "device": model.device.type,
        **tf32.as_key(model),
        "sites": [site.tensor for site in sites],
        "tokens": _fingerprint(tokens),
    }

    def make() -> Tensors:
        with store.work.timed("model"):
            return _capture(model, sites, tokens, store.work)

    found = store.get(key, make)
    return tuple(found[str(place)] for place in range(len(sites)))


def encode_rows(dictionary: Dictionary, x: Tensor, work: Work) -> sparse.csr_array:
    """Encode activations in one pass.

    Args:
        dictionary: encodes them.
        x: (text, d_in) activations.
        work: counts and times the encoding.

    Returns:
        (text, d_sae) float32.
    """
    parts = []
    work.encode_passes += 1
    work.encoded_tokens += len(x)
    with torch.no_grad(), work.timed("encode rows"):
        for part in x.split(chunk_tokens(dictionary)):
            z = dictionary.encode(part.to(dictionary.device, dictionary.dtype))
            parts.append(sparse_rows(z))
    return sparse.csr_array(sparse.vstack(parts, format="csr"))


def _capture(model: LanguageModel, sites: Sequence[Site], tokens: Tokens, work: Work) -> Tensors:
    found: list[list[Tensor]] = [[] for _ in sites]
    order: list[Tensor] = []
    names = [site.tensor for site in sites]
    for batch in padded(tokens):
        seen = model.capture(batch, sites)
        work.ran(model.fingerprint, names, batch)
        last = batch.attention.sum(1) - 1 - tokens.suffix
        for kept, site in zip(found, sites, strict=True):
            kept.append(seen[site].cpu()[torch.arange(len(last)), last])
        order.append(batch.rows)
    back = torch.from_numpy(np.argsort(torch.cat(order).numpy()))
    return {str(place): torch.cat(kept)[back] for place, kept in enumerate(found)}


def _fingerprint(tokens: Tokens) -> str:
    digest = hashlib.sha256(json.dumps([tokens.prefix, tokens.suffix, tokens.pad]).encode())
    for ids in tokens.ids:
        digest.update(json.dumps(ids).encode() + b"\n")
    return digest.hexdigest()
