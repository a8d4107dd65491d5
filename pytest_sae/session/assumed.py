"""What nothing says about how a model's weights were processed before training: tried on texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from pytest_sae.activations.codes import reconstructed
from pytest_sae.dictionaries.base import Contextual, Dictionary, DictionaryInfo
from pytest_sae.errors import DictionaryError, SiteError
from pytest_sae.models import precision
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.site import Site
from pytest_sae.session.loaded import processed, sites_of

_APART = 0.01  # of explained variance: less than this is no reason to ask

Sites = tuple[Site, Site]


def require_known(
    info: DictionaryInfo, dictionary: Dictionary, model: LanguageModel, texts: Sequence[str]
) -> None:
    """Refuse a dictionary if it matters whether its model was processed, and nothing says it.

    Both are tried: the model as it is, and with all that TransformerLens does by default.

    Args:
        info: of the dictionary; `perhaps` says what is not known.
        dictionary: measured on both.
        model: the model as it is.
        texts: a few.

    Raises:
        DictionaryError: with the share of variance that it explains of the one and of the other.
    """
    there, matters = sites_of(info, model), list(_matters(info, model))
    if not matters or isinstance(dictionary, Contextual):
        return
    other = sites_of(processed(info, info.perhaps), model)
    bos = info.prepend_bos is not False
    plain, changed = (_explained(dictionary, model, each, texts, bos) for each in (there, other))
    if abs(plain - changed) <= _APART:
        return
    said = ",".join(f"{name}=true" for name in matters)
    raise DictionaryError(
        f"{info.source} says neither which version trained it nor whether the model's weights were "
        f"processed before ({', '.join(matters)}), and it matters: on the first {len(texts)} texts "
        f"it explains {plain:.3f} of the variance of the model as it is, and {changed:.3f} of that "
        f"of the processed one. Expected one of them: say --sae={info.family.partition('.')[0]},"
        f"{said}:{info.source}, or =false"
    )


def _matters(info: DictionaryInfo, model: LanguageModel) -> Iterator[str]:
    """Names of the unknown processing that makes other tensors of the dictionary's sites."""
    there = [site.tensor for site in sites_of(info, model)]
    for name in info.perhaps:
        try:
            other = sites_of(processed(info, {name: True}), model)
        except SiteError:  # no site of a model that was processed so, and so none that was read
            continue
        if [site.tensor for site in other] != there:
            yield name


@torch.no_grad()
def _explained(
    dictionary: Dictionary, model: LanguageModel, sites: Sites, texts: Sequence[str], bos: bool
) -> float:
    """1 - Σ |y - ŷ|² / Σ |y - mean|² over the texts' tokens, the definition of the metric."""
    x, y = (precision.activations(model, site, texts, bos) for site in sites)
    rebuilt = reconstructed(x, dictionary)
    y = y.to(rebuilt.device).double()
    return float(1 - (y - rebuilt).square().sum() / (y - y.mean(0)).square().sum())
