"""Reconstruction, sparsity and behaviour of one dictionary and its controls, on drawn texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.gate_draws import Draw, Indices
from pytest_sae.activations.latents import Latents
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.families.core import CARD
from pytest_sae.families.registry import expected_of
from pytest_sae.gate.planned import controls_needed
from pytest_sae.gate.rules import Thresholds
from pytest_sae.measure import control_dictionaries as making
from pytest_sae.measure.control_dictionaries import Twin
from pytest_sae.measure.core import check_sparsity, gather
from pytest_sae.measure.given import corpus_of
from pytest_sae.metrics import behaviour, core
from pytest_sae.metrics.behaviour import BehaviourSums
from pytest_sae.metrics.core import CoreSums
from pytest_sae.metrics.token_groups import Group
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.session.controls import beside, chosen
from pytest_sae.session.session import EvalSession, LoadedSAE


@dataclass(frozen=True)
class Shared:
    """What all dictionaries of a world are measured with.

    Args:
        session: of the world.
        rules: which controls they need.
        most: texts of the corpus that are drawn from.
    """

    session: EvalSession
    rules: Thresholds
    most: int
    _sums: dict[str, TextSums] = field(default_factory=dict)

    @property
    def texts(self) -> tuple[str, ...]:
        """The held-out texts."""
        return tuple(corpus_of(self.session.tasks, "reconstruction").texts[: self.most])

    def sums(self, twin: Twin) -> TextSums:
        """Return what a control makes of the texts; two dictionaries may have the same one."""
        name = twin.dictionary.fingerprint
        if name not in self._sums:
            self._sums[name] = TextSums.of(twin.latents, self.texts)
        return self._sums[name]


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
class TextSums:
    """What one dictionary makes of each text of the corpus."""

    sums: FiringSums
    behaved: BehaviourSums

    @classmethod
    def of(cls, latents: Latents, texts: tuple[str, ...]) -> TextSums:
        """Measure a dictionary on every text."""
        sums, behaved = gather(latents, texts, FiringSums)
        assert isinstance(sums, FiringSums)
        assert behaved is not None
        # What each token group has by itself is of no rule.
        return cls(sums, replace(behaved, groups={}))

    def measured(self, draw: Draw) -> list[Estimate]:
        """Return the figures on the drawn texts."""
        texts = draw.corpus(len(self.sums.per_text))
        return [
            *core.finish(_drawn_sums(self.sums, texts), draw.number),
            *behaviour.finish(self.behaved.take(texts), draw.number),
        ]


@dataclass(frozen=True)
class ReconstructionPool:
    """What is summed up per text of the corpus, of a dictionary and of its controls."""

    dictionary: Dictionary
    own: TextSums
    controls: Mapping[str, TextSums]

    @classmethod
    def of(cls, shared: Shared, sae: LoadedSAE) -> ReconstructionPool:
        """Measure a dictionary, and the controls of a run, on every text."""
        session = shared.session
        latents, texts = session.latents(sae), shared.texts
        own, sample = TextSums.of(latents, texts), making.sampled(latents, texts)
        controls = {}
        for name in chosen(session.controls, CARD, controls_needed([shared.rules])):
            twins = making.make(name, latents, sample, session.options.seed)
            if not isinstance(twins, str):
                controls[name] = shared.sums(twins[0])
        return cls(sae.dictionary, own, controls)

    def measured(self, draw: Draw) -> Iterator[tuple[Estimate, tuple[Control, ...]]]:
        """Give the figures on the drawn texts, beside those of the controls on the same texts."""
        figures = self.own.measured(draw)
        check_sparsity(self.dictionary, figures)
        others = {
            name: {each.metric: each for each in sums.measured(draw)}
            for name, sums in self.controls.items()
        }
        for own in figures:
            found = (
                beside(name, expected, other[own.metric], own)
                for name, other in others.items()
                if (expected := expected_of(own.metric, name)) is not None
            )
            yield own, tuple(found) if own.status == "ok" else ()


def _drawn_sums(sums: FiringSums, texts: Indices) -> CoreSums:
    drawn = CoreSums(len(texts), sums.centre.shape[1], len(sums.fires), "cpu", sums.reference)
    places = torch.from_numpy(texts)
    drawn.per_text, drawn.centre = sums.per_text[places], sums.centre[places]
    times = torch.bincount(places, minlength=len(sums.per_text_fires))
    # Which group they are of enters no figure but those of the groups, which nobody reads here.
    drawn.group_fires["ordinary"] = (times.double() @ sums.per_text_fires.double()).long()
    return drawn
