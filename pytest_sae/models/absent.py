"""The model of recorded activations: it has a name, and cannot be run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from pytest_sae.errors import ModelError
from pytest_sae.models.model import NO_PREDICTION, LanguageModel
from pytest_sae.models.site import Site

NO_MODEL = "recorded activations: no model"


class AbsentModel(LanguageModel):
    """A model that activations were recorded of, for runs in which it is not loaded.

    It predicts nothing. Whatever would need its weights or its tokenizer raises ModelError.

    Args:
        name: as whoever recorded calls it.
        fingerprint: of its weights, empty if it was not recorded.
    """

    def __init__(self, name: str, fingerprint: str) -> None:
        nothing = _Missing(self.missing)
        super().__init__(nothing, nothing, name, fingerprint, "", predicts=False)

    @property
    def device(self) -> torch.device:
        """Where its activations are: they were read from files."""
        return torch.device("cpu")

    def missing(self) -> ModelError:
        """Return the error of whatever needs it."""
        return ModelError(
            f"{NO_MODEL}: {self.name} is not loaded in a run with --sae-activations. Expected a "
            "run with the model for what needs it: leave that flag out."
        )

    def stream_below(self, site: Site) -> Site | None:
        """Return None: nothing is spliced."""
        return None


def why_silent(model: LanguageModel) -> str:
    """Return why a model without predictions gives none."""
    return NO_MODEL if isinstance(model, AbsentModel) else NO_PREDICTION


class _Missing:
    """Weights or tokenizer that are not there, and say so when they are used."""

    def __init__(self, error: Callable[[], ModelError]) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self._error()

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise self._error()
