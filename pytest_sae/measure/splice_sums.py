"""What a model predicts with reconstructions in place, summed per text while batches go by.

    predicted = SpliceSums.of(n_texts)              # Unspliced() of a model that predicts nothing
    predicted.add(stream, part, new, residual)      # once per batch
    predicted.sums(stream, under) -> BehaviourSums | None

The cross-entropy of the ablated site, which no dictionary changes, is cached for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pytest_sae.activations import behaviour as splicing
from pytest_sae.activations.stream import ActivationBatch, TokenActivations
from pytest_sae.metrics import behaviour
from pytest_sae.metrics.behaviour import BehaviourSums
from pytest_sae.metrics.token_groups import Group, token_groups
from pytest_sae.models.tokenize import Batch
from pytest_sae.numbers.bootstrap import Floats

VERSION = "2"  # part of the cache key of the cross-entropies that no dictionary changes
# Summed over all predictions that count, and over those that are made at few tokens of a text;
# ordinary tokens are what is left.
_SUMMED = ("counted", "first", "special")


class Unspliced:
    """Of a model without predictions there is nothing to add up."""

    def add(self, *_: object) -> None:
        """Do nothing."""

    def sums(self, *_: object) -> None:
        """Return None."""


@dataclass(frozen=True)
class SpliceSums:
    """Sums over predictions, clean and spliced.

    Args:
        tables: (text, summed) float64 each; `summed` in the order of _SUMMED.
    """

    tables: Mapping[str, Tensor]

    @classmethod
    def of(cls, n_texts: int) -> SpliceSums:
        """Return the sums before any batch."""
        names = ("tokens", "clean", "spliced", "kl")
        shape = (n_texts, len(_SUMMED))
        return cls({name: torch.zeros(shape, dtype=torch.float64) for name in names})

    def add(
        self, stream: TokenActivations, part: ActivationBatch, new: Tensor, residual: Tensor | None
    ) -> None:
        """Add a batch.

        Args:
            stream: of the site that is written.
            part: the batch there.
            new: (text, pos, d_out) what takes its place.
            residual: the stream below the site's block, where a splice needs it.
        """
        for seen in splicing.compare(stream, part, new, residual):
            rows = seen.batch.rows.cpu()
            for place, mask in enumerate(_masks(seen.batch)):
                found = {
                    "tokens": mask.sum(1),
                    "clean": behaviour.cross_entropy(seen.clean, seen.batch.ids, mask),
                    "spliced": behaviour.cross_entropy(seen.spliced, seen.batch.ids, mask),
                    "kl": behaviour.kl(seen.clean, seen.spliced, mask),
                }
                for name, each in found.items():
                    self.tables[name][rows, place] = each.double().cpu()

    def sums(self, stream: TokenActivations, under: TokenActivations | None) -> BehaviourSums:
        """Return what was added up, beside the ablated site.

        Args:
            stream: of the site that is written.
            under: the stream below the site's block, where a splice needs it.
        """
        tables = {**self.tables, **_ablated(stream, under)}
        counted, first, special = (
            {name: table[:, place].numpy() for name, table in tables.items()}
            for place in range(len(_SUMMED))
        )
        ordinary = {name: counted[name] - first[name] for name in counted}
        groups: dict[Group, dict[str, Floats]] = {
            "ordinary": ordinary,
            "first": first,
            "special": special,
        }
        return replace(_sums(counted), groups={name: _sums(own) for name, own in groups.items()})


def _sums(c: Mapping[str, Floats]) -> BehaviourSums:
    return BehaviourSums(
        c["tokens"], c["clean"], c["spliced"], c["mean_ablated"], c["zero_ablated"], c["kl"]
    )


def _masks(batch: Batch) -> list[Tensor]:
    """(text, pos) each, in the order of _SUMMED."""
    groups = token_groups(batch.valid, batch.attention)
    places = (batch.valid, groups["first"], groups["special"])
    return [behaviour.predictions(batch.valid, at) for at in places]


def _ablated(stream: TokenActivations, under: TokenActivations | None) -> dict[str, Tensor]:
    def reduce(logits: Tensor, batch: Batch) -> Tensor:
        sums = [behaviour.cross_entropy(logits, batch.ids, mask) for mask in _masks(batch)]
        return torch.stack(sums, dim=1)

    with stream.store.work.timed("ablate"):
        return splicing.ablated_sums(stream, reduce, VERSION, under)
