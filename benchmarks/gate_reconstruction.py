"""Reconstruction, sparsity and behaviour of one dictionary on drawn texts of the corpus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.gate_draws import Draw, Indices
from pytest_sae.measure.core import gather
from pytest_sae.measure.given import corpus_of
from pytest_sae.metrics import behaviour, core
from pytest_sae.metrics.behaviour import BehaviourSums
from pytest_sae.metrics.core import CoreSums
from pytest_sae.metrics.token_groups import Group
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.session.session import EvalSession, LoadedSAE


class FiringSums(CoreSums):
    """The sums of the suite, and how often each latent fires in each text."""

    def __init__(self, n_texts: int, d: int, d_sae: int, *rest: Any) -> None:
        super().__init__(n_texts, d, d_sae, *rest)
        self.per_text_fires = torch.zeros(n_texts, d_sae, dtype=torch.int32)

    def update(
        self, x: Tensor, x_hat: Tensor, z: Tensor, text_rows: Tensor, group: Group = "ordinary"
    ) -> None:
        """Add a batch of tokens of one group."""
        super().update(x, x_hat, z, text_rows, group)
        if group != "special":
            self.per_text_fires.index_add_(0, text_rows, (z != 0).int())


@dataclass(frozen=True)
class ReconstructionPool:
    """What is summed up per text of the corpus; nothing is random but the bootstrap."""

    sums: FiringSums
    behaved: BehaviourSums

    @classmethod
    def of(cls, session: EvalSession, sae: LoadedSAE) -> ReconstructionPool:
        """Measure a dictionary on every text."""
        texts = corpus_of(session.tasks, "reconstruction").texts
        sums, behaved = gather(session.latents(sae), texts, FiringSums)
        assert isinstance(sums, FiringSums)
        assert behaved is not None
        return cls(sums, behaved)

    def measured(self, draw: Draw) -> list[Estimate]:
        """Return the figures on the drawn texts."""
        texts = draw.corpus(len(self.sums.per_text))
        return [
            *core.finish(_drawn_sums(self.sums, texts), draw.number),
            *behaviour.finish(self.behaved.take(texts), draw.number),
        ]


def _drawn_sums(sums: FiringSums, texts: Indices) -> CoreSums:
    drawn = CoreSums(len(texts), sums.centre.shape[1], len(sums.fires), "cpu", sums.reference)
    places = torch.from_numpy(texts)
    drawn.per_text, drawn.centre = sums.per_text[places], sums.centre[places]
    times = torch.bincount(places, minlength=len(sums.per_text_fires))
    # Which group they are of enters no figure but those of the groups, which nobody reads here.
    drawn.group_fires["ordinary"] = (times.double() @ sums.per_text_fires.double()).long()
    return drawn
