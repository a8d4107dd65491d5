"""A dictionary's latents on the texts of a world: what every family of metrics takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from pytest_sae.activations.latents import Latents
from pytest_sae.activations.store import Store
from pytest_sae.activations.stream import ActivationBatch, TokenActivations, fingerprint
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.models.absent import AbsentModel
from pytest_sae.models.site import Site
from pytest_sae.models.tokenize import Batch
from pytest_sae.synthetic.texts import WorldTexts

_TEXTS = 512  # of a batch
_SITE = Site("world", "output", -1, "world", stream=False)


class WorldLatents(Latents):
    """What a dictionary makes of a world's texts, which stand under their names.

    Args:
        texts: of the world.
        world: fingerprint of what they were drawn from, part of cache keys.
        dictionary: encodes.
        store: keeps what is computed from them.
    """

    def __init__(self, texts: WorldTexts, world: str, dictionary: Dictionary, store: Store) -> None:
        model = AbsentModel("synthetic world", world)
        context = texts.x.shape[1]
        super().__init__(dictionary, model, _SITE, store, context, lambda *_: None)
        self._world_texts = texts

    @cached_property
    def _lines(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self._world_texts.names)}

    def can_read(self, texts: Sequence[str]) -> bool:
        """Whether all of the texts are the world's."""
        return all(text in self._lines for text in texts)

    def _stream(self, texts: tuple[str, ...], site: Site) -> TokenActivations:
        if (texts, site) not in self._streams:
            lines = np.array([self._lines[text] for text in texts], np.int64)
            self._streams[texts, site] = WorldActivations(
                self.model, site, texts, self.context, False, self.store,
                world_texts=self._world_texts, lines=lines,
            )  # fmt: skip
        return self._streams[texts, site]


@dataclass(eq=False, kw_only=True)
class WorldActivations(TokenActivations):
    """The activations of a world's texts; iterate as often as needed.

    Args:
        world_texts: that hold them.
        lines: (text,) the places of `texts` among them.
    """

    world_texts: WorldTexts
    lines: np.ndarray[tuple[int], np.dtype[np.int64]]

    made = True

    @cached_property
    def key(self) -> dict[str, object]:
        """All that decides the activations; builtins only."""
        return {
            "step": "synthetic activations",
            "world": self.model.fingerprint,
            "texts": fingerprint(self.texts),
            "length": self.context,
        }

    def __iter__(self) -> Iterator[ActivationBatch]:
        for start in range(0, len(self.lines), _TEXTS):
            x = self.world_texts.x[self.lines[start : start + _TEXTS]].cpu()
            everywhere = torch.ones(x.shape[:2], dtype=torch.bool)
            rows = torch.arange(start, start + len(x))
            yield ActivationBatch(Batch(everywhere.long(), everywhere, everywhere, rows), x)
