"""A dictionary with the model and the sites that it is measured on, ready to be measured."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

import pytest_sae
from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo
from pytest_sae.errors import SiteError
from pytest_sae.models import processing
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.site import Site
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.measurement import Measurement


@dataclass(frozen=True)
class LoadedSAE:
    """A dictionary ready to be measured: the value of the `sae` fixture.

    Args:
        id: its name in this run.
        dictionary: the dictionary itself.
        model: the model that it is evaluated on.
        site: where it reads.
        site_out: what its reconstruction replaces; `site` itself for all but transcoders.
        fingerprints: hashes of dictionary, model, site, data and suite.
    """

    id: str
    dictionary: Dictionary
    model: LanguageModel
    site: Site
    site_out: Site
    fingerprints: Mapping[str, str]

    def measured(
        self,
        estimate: Estimate,
        *,
        seconds: float = 0.0,
        code: str = "1",
        controls: Sequence[Control] = (),
    ) -> Measurement:
        """Return an estimate as a measurement of this SAE, ready for `gate`.

        Args:
            estimate: of any registered metric.
            seconds: how long it took.
            code: version of what computed it, part of the fingerprints.
            controls: what the same metric says of controls.
        """
        fingerprints = {**self.fingerprints, "code": f"{pytest_sae.__version__}/{code}"}
        return Measurement(self.id, estimate, seconds, peak_memory(), fingerprints, tuple(controls))


def sites_of(info: DictionaryInfo, model: LanguageModel) -> tuple[Site, Site]:
    """Return where a dictionary reads and where it writes; one object if that is one tensor.

    Args:
        info: of the dictionary, with the hooks that it declares.
        model: whose modules they are looked up in.

    Returns:
        (read, written).

    Raises:
        SiteError: the model has no such site, or it writes several at once.
    """
    done = processing.declared(info.trained_on)
    site = model.site(str(info.hook_in), done, info.head)
    site_out = model.site(str(info.hook_out or info.hook_in), done, info.head)
    if site_out.parts:
        raise SiteError(
            f"{info.source} writes {len(site_out.parts)} sites side by side ({site_out.hook_name})."
            " Expected one of them at a time: say site_out=, or the family's own setting for it."
        )
    return site, site if site_out.tensor == site.tensor else site_out


def is_processed(info: DictionaryInfo) -> bool:
    """Return whether a dictionary declares any processing, even such as cannot be repeated."""
    try:
        return bool(processing.declared(info.trained_on))
    except SiteError:
        return True


def processed(info: DictionaryInfo, done: Mapping[str, bool]) -> DictionaryInfo:
    """Return what a dictionary declares, with more about the processing of its model's weights.

    Args:
        info: of the dictionary.
        done: by name, whether it was.
    """
    arguments = info.trained_on.get(processing.ARGUMENTS)
    stated = arguments if isinstance(arguments, Mapping) else {}
    return replace(info, trained_on={**info.trained_on, processing.ARGUMENTS: {**stated, **done}})


def peak_memory() -> int:
    """Return the most bytes in use so far: of the GPU if one was used, else of this process."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
