"""SCR, TPP, sparse probing and erasure of one dictionary on drawn test texts of the tasks.

Probes are fitted and latents chosen as in a run, with each seed; what they say of every test text
is kept from before the last step, so that ranks, spreads and balances are those of the drawn texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import torch

from benchmarks.gate_draws import SEEDS, Draw, Indices
from pytest_sae.activations.latents import Latents
from pytest_sae.data.tasks import ClassTask, SpuriousTask, Tasks
from pytest_sae.families.registry import card_of
from pytest_sae.measure import frontier, sparse_probing, written_scale
from pytest_sae.measure.given import corpus_of
from pytest_sae.measure.scr_and_tpp import (
    PooledTask,
    class_labels,
    erasure_texts,
    quadrants,
    scr_probes,
    tpp_probes,
)
from pytest_sae.measure.sparse_probing import Dataset
from pytest_sae.metrics import (
    frontier_estimates,
    scr,
    scr_estimates,
    sparse_probing_estimates,
    tpp,
    tpp_estimates,
)
from pytest_sae.metrics.frontier import Frontier, references, trace
from pytest_sae.metrics.frontier_texts import (
    ErasedConcept,
    Pair,
    ProbeAucs,
    ProbedLabel,
    ProbeScores,
    TaskTexts,
)
from pytest_sae.metrics.protocol import HEADLINE_N
from pytest_sae.metrics.scr import DIRECTIONS, DirectionLogits, Quadrants, ScrTask
from pytest_sae.metrics.sparse_probing import Logits, ProbedTexts, fit_dataset
from pytest_sae.metrics.tpp import ProbeReadings
from pytest_sae.metrics.written_scale import ScaleSums, finish
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.session.session import EvalSession, LoadedSAE


def _fits(session: EvalSession) -> int:
    return card_of("scr").sizes[session.suite.name]["fits"] or 0


@dataclass(frozen=True)
class ScrPool:
    """Every SCR task as each seed's probes read it, at the headline n alone."""

    tasks: Sequence[SpuriousTask]
    read: Sequence[Sequence[ScrTask]]

    @classmethod
    def of(cls, session: EvalSession, sae: LoadedSAE) -> ScrPool:
        """Read every test text."""
        latents, tasks, fits = session.latents(sae), session.tasks, _fits(session)
        texts = erasure_texts(tasks)
        return cls(
            tasks.scr,
            [[_read_scr(latents, texts, each, seed, fits) for each in tasks.scr] for seed in SEEDS],
        )

    def measured(self, draw: Draw) -> list[Estimate]:
        """Return the figures on the drawn texts."""
        tasks = [
            _drawn_scr(task, draw.places(about.test.texts))
            for about, task in zip(self.tasks, self.read[draw.made_with], strict=True)
        ]
        drawn = [scr_estimates.DrawnTask.of(task, draw.number) for task in tasks]
        return [
            scr_estimates.recovered(
                drawn, direction, "margin", "scr.margin",
                {"n": HEADLINE_N, "direction": direction}, HEADLINE_N,
            )
            for direction in DIRECTIONS
        ]  # fmt: skip


def _read_scr(
    latents: Latents, texts: Sequence[str], task: SpuriousTask, seed: int, fits: int
) -> ScrTask:
    view = PooledTask.of(latents, texts, task.train.texts, task.test.texts)
    return scr.score_task(
        task.name, scr_probes(latents, view, task, seed, fits), quadrants(task.train),
        view.z_train, quadrants(task.test), view.x_test, view.rows, view.removal, (HEADLINE_N,),
    )  # fmt: skip


def _drawn_scr(task: ScrTask, texts: Indices) -> ScrTask:
    def drawn(reading: DirectionLogits) -> DirectionLogits:
        return DirectionLogits(
            reading.own[:, texts],
            reading.confounded[:, texts],
            reading.ablated[:, :, texts],
            reading.latents,
        )

    return replace(
        task,
        test=Quadrants(task.test.intended[texts], task.test.spurious[texts]),
        fits={direction: drawn(task.fits[direction]) for direction in DIRECTIONS},
    )


@dataclass(frozen=True)
class TppPool:
    """Every TPP task as each seed's probes read it, and how strongly the dictionary writes."""

    tasks: Sequence[ClassTask]
    read: Sequence[Sequence[ProbeReadings]]
    scale: ScaleSums

    @classmethod
    def of(cls, session: EvalSession, sae: LoadedSAE) -> TppPool:
        """Read every test text, and every text of the corpus."""
        latents, tasks, fits = session.latents(sae), session.tasks, _fits(session)
        texts = erasure_texts(tasks)
        return cls(
            tasks.tpp,
            [[_read_tpp(latents, texts, each, seed, fits) for each in tasks.tpp] for seed in SEEDS],
            written_scale.gather(latents, corpus_of(session.tasks, "TPP").texts),
        )

    def measured(self, draw: Draw) -> list[Estimate]:
        """Return the figures on the drawn texts."""
        tasks = []
        for about, read in zip(self.tasks, self.read[draw.made_with], strict=True):
            texts = draw.places(about.test.texts)
            labels = class_labels(about.test)[texts]
            tasks.append(read.take(texts).score(about.name, about.classes, labels, draw.number))
        scale = finish(_drawn_scale(self.scale, draw), draw.number)
        return tpp_estimates.estimates(tasks, draw.number, scale=scale)


def _read_tpp(
    latents: Latents, texts: Sequence[str], task: ClassTask, seed: int, fits: int
) -> ProbeReadings:
    view = PooledTask.of(latents, texts, task.train.texts, task.test.texts)
    return tpp.read_probes(
        tpp_probes(latents, view, task, seed, fits), class_labels(task.train),
        view.z_train, view.x_test, view.rows, view.removal, (HEADLINE_N,),
    )  # fmt: skip


def _drawn_scale(sums: ScaleSums, draw: Draw) -> ScaleSums:
    texts = torch.from_numpy(draw.corpus(len(sums.products)))
    drawn = ScaleSums(len(texts), sums.sums.shape[2])
    drawn.products, drawn.sums = sums.products[texts], sums.sums[texts]
    return drawn


@dataclass(frozen=True)
class ProbingPool:
    """What sparse probes say of every test text; nothing in them is random."""

    texts: Sequence[Sequence[str]]
    datasets: Sequence[Dataset]
    logits: Sequence[Logits]

    @classmethod
    def of(cls, session: EvalSession, sae: LoadedSAE) -> ProbingPool:
        """Fit all probes, and read every test text."""
        tasks = session.tasks
        datasets = sparse_probing.datasets(session.latents(sae), tasks, session.options.seed)
        texts = [*(each.test.texts for each in tasks.tpp), *(each.test.texts for each in tasks.scr)]
        return cls(texts, datasets, [fit_dataset(each.train, each.test) for each in datasets])

    def measured(self, draw: Draw) -> list[Estimate]:
        """Return the figures on the drawn texts."""
        found = []
        for texts, each, logits in zip(self.texts, self.datasets, self.logits, strict=True):
            chosen = draw.places(texts)
            test = _drawn_probed(each.test, chosen)
            found.append(_drawn_logits(logits, chosen).read(each.name, each.concepts, test))
        return sparse_probing_estimates.estimates(found, draw.number)


def _drawn_probed(test: ProbedTexts, texts: Indices) -> ProbedTexts:
    return ProbedTexts(
        test.z[texts], test.x[texts], test.targets[:, texts], test.weights[:, texts],
        test.cells[texts],
    )  # fmt: skip


def _drawn_logits(logits: Logits, texts: Indices) -> Logits:
    return Logits(
        logits.latents[..., texts],
        logits.neurons[..., texts],
        logits.all_latents[..., texts],
        logits.activations[..., texts],
        logits.chosen,
    )


@dataclass(frozen=True)
class ErasurePool:
    """Every concept's frontier with the scores behind it, for each seed."""

    texts: dict[str, Sequence[str]]
    traced: Sequence[Sequence[tuple[Frontier, ErasedConcept]]]

    @classmethod
    def of(cls, session: EvalSession, sae: LoadedSAE) -> ErasurePool:
        """Trace all frontiers with each seed."""
        latents, tasks, fits = session.latents(sae), session.tasks, _fits(session)
        return cls(
            _test_texts(tasks),
            [
                [
                    each
                    for views in frontier.views(latents, tasks, seed, fits).values()
                    for view in views
                    for each in _traced(view, seed)
                ]
                for seed in SEEDS
            ],
        )

    def measured(self, draw: Draw) -> list[Estimate]:
        """Return the figures on the drawn texts."""
        places = {name: draw.places(texts) for name, texts in self.texts.items()}
        drawn = [
            _drawn_frontier(each, concept, places[each.task])
            for each, concept in self.traced[draw.made_with]
        ]
        # As one group: the figures of single groups do not gate.
        return frontier_estimates.estimates({"all": drawn}, draw.number)


def _test_texts(tasks: Tasks) -> dict[str, Sequence[str]]:
    scr_texts = {f"scr/{each.name}": each.test.texts for each in tasks.scr}
    return {**scr_texts, **{f"tpp/{each.name}": each.test.texts for each in tasks.tpp}}


@dataclass(frozen=True)
class Scored(ProbeAucs):
    """Readings that keep the scores they come from."""

    scores: ProbeScores


class ScoredTexts(TaskTexts):
    """A task whose readings keep their scores."""

    def read(self, concept: ErasedConcept, changes: Iterable[Pair]) -> ProbeAucs:
        """Return readings with their scores."""
        scores = self.scores(concept, changes)
        read = scores.read(concept)
        return Scored(read.own, read.others, read.known, scores)


def _traced(view: frontier.FrontierTask, seed: int) -> list[tuple[Frontier, ErasedConcept]]:
    texts = ScoredTexts(**{each.name: getattr(view.texts, each.name) for each in fields(TaskTexts)})
    found = trace(texts, references(texts), view.ablation, seed)
    return list(zip(found, texts.concepts, strict=True))


def _drawn_frontier(each: Frontier, concept: ErasedConcept, texts: Indices) -> Frontier:
    about = _drawn_concept(concept, texts)

    def drawn(readings: ProbeAucs) -> ProbeAucs:
        assert isinstance(readings, Scored)
        scores = readings.scores
        taken = ProbeScores(scores.own[..., texts], scores.others[..., texts], scores.known)
        return taken.read(about)

    return replace(
        each,
        cells=each.cells[texts],
        key=each.key[texts],
        clean=drawn(each.clean),
        sae=drawn(each.sae),
        random=tuple(map(drawn, each.random)),
        # The other references enter the chart alone.
        erased={"leace": drawn(each.erased["leace"])},
    )


def _drawn_concept(concept: ErasedConcept, texts: Indices) -> ErasedConcept:
    def drawn(contrast: ProbedLabel) -> ProbedLabel:
        return replace(contrast, test=contrast.test[texts])

    others = {probe: drawn(each) for probe, each in concept.others.items()}
    return replace(concept, own=drawn(concept.own), others=others)
