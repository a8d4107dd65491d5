"""Dictionaries whose codes of known activations are written down, over the bundled model."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from fixtures import WORLD
from pytest_sae.activations.latents import Latents
from pytest_sae.activations.store import Store
from pytest_sae.data.sources import bundled_tasks
from pytest_sae.data.tasks import Sizes, Tasks
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo
from pytest_sae.dictionaries.load import load
from pytest_sae.models.load import load as load_model
from pytest_sae.models.model import LanguageModel

SITE = "blocks.2.hook_resid_post"
INFO = DictionaryInfo("planted", "planted", None, None, None, prepend_bos=True)
SIZES = Sizes(10, 10, 10, 10, 10)


def planted(known: Tensor, codes: Tensor, rows: Tensor) -> AffineDictionary:
    """Return a dictionary that gives each known activation its codes, others those of the nearest.

    Args:
        known: (text, d).
        codes: (text, latent).
        rows: (latent, d).
    """
    known, codes, rows = known.float(), codes.float(), rows.float()

    def encode(x: Tensor) -> Tensor:
        return torch.cat([codes[torch.cdist(part, known).argmin(1)] for part in x.split(512)])

    return AffineDictionary(encode, rows, known.mean(0), None, INFO, "planted")


@cache
def model() -> LanguageModel:
    return load_model(str(WORLD / "model"), "cpu", torch.float32)


@cache
def tasks() -> Tasks:
    return bundled_tasks(SIZES, 0)


@cache
def bundled(name: str) -> Dictionary:
    path: Path = WORLD / "saes" / name
    return load(str(path), device=torch.device("cpu"), dtype=torch.float32)


def latents_of(dictionary: Dictionary, store: Store | None = None, site: str = SITE) -> Latents:
    one = model()
    return Latents(dictionary, one, one.site(site), store or Store(None), 128, lambda *_: None)
