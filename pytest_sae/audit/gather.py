"""Measuring a panel on a world: the values that the audit's questions are asked of.

gather(world, size, store) -> WorldAudit
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from pytest_sae.activations.latents import Latents
from pytest_sae.activations.store import Store
from pytest_sae.audit.values import Observation, Standing, WorldAudit
from pytest_sae.data.tasks import Tasks
from pytest_sae.families.card import Card
from pytest_sae.families.registry import card_of, cards
from pytest_sae.measure.given import Given, measured
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.audit import AuditTruth
from pytest_sae.synthetic.latents import WorldLatents
from pytest_sae.synthetic.panel import (
    LARGE_PLAN,
    SMALL_PLAN,
    SMOKE_PLAN,
    Member,
    PanelPlan,
    make_panel,
)
from pytest_sae.synthetic.recovery import Recovery, agreement
from pytest_sae.synthetic.references import Known
from pytest_sae.synthetic.tasks import (
    LARGE_BOOK,
    SMALL_BOOK,
    SMOKE_BOOK,
    Book,
    BookSize,
    concepts_of,
    make_book,
)
from pytest_sae.synthetic.worlds import LARGE, SMALL, SMOKE, Sample, World, WorldSpec

Progress = Callable[[str, int, int], None]

#: Latents, tasks, seed and probe fits to a family's estimates.
Measure = Callable[[Latents, Tasks, int, int], Sequence[Estimate]]


def audited() -> dict[str, Measure]:
    """Return every family that can be measured on activations without a model, by its card."""
    return {card.name: partial(_measured, card) for card in cards() if card.audited}


def _measured(
    card: Card, latents: Latents, tasks: Tasks, seed: int, fits: int
) -> Sequence[Estimate]:
    most = card.audited_tasks
    few = replace(tasks, scr=tasks.scr[:most], tpp=tasks.tpp[:most])
    sizes = dict(card.sizes.get("standard", {}))
    if "fits" in sizes:
        sizes["fits"] = fits
    return measured(card, Given(latents, few, seed, sizes))


@dataclass(frozen=True)
class AuditSize:
    """What an audit spends.

    Args:
        name: as reports call it.
        worlds: on which it is made.
        book: texts and tasks of each.
        plan: the panel of each.
        reseeds: how often the noisy part of the panel is measured with everything random drawn
            anew.
        noisy: how many dictionaries that are, spread over the trained ones.
        fits: probe fits of the default metrics.
        tokens: on which recovery is counted.
    """

    name: str
    worlds: tuple[WorldSpec, ...]
    book: BookSize
    plan: PanelPlan
    reseeds: int = 10
    noisy: int = 3
    fits: int = 5
    tokens: int = 16_384


SIZES = {
    size.name: size
    for size in (
        AuditSize("smoke", SMOKE, SMOKE_BOOK, SMOKE_PLAN, 2, 2, 2, 4096),
        AuditSize("small", SMALL, SMALL_BOOK, SMALL_PLAN),
        AuditSize("large", LARGE, LARGE_BOOK, LARGE_PLAN, tokens=65_536),
    )
}


def gather(
    spec: WorldSpec,
    size: AuditSize,
    store: Store,
    families: Mapping[str, Measure] | None = None,
    progress: Progress = lambda *_: None,
    device: str = "cpu",
) -> WorldAudit:
    """Measure every dictionary of a world's panel, and some of them again and again.

    Args:
        spec: of the world.
        size: of the audit.
        store: keeps trained dictionaries and probes.
        families: what is measured, None for every family whose card says so.
        progress: called with (stage, done, total).
        device: where the world and its dictionaries are.

    Returns:
        The panel, and every value of every member and seed.
    """
    bench = Bench(spec, size, store, families, device)
    total = size.reseeds + 1
    observations: list[Observation] = []
    for seed in range(total):
        progress(f"auditing {spec.name}, seed", seed, total)
        observations += bench.measure(seed)
    progress(f"auditing {spec.name}, seed", total, total)
    return WorldAudit(spec.name, bench.standings, tuple(observations))


class Bench:
    """A world with its panel, to be measured seed by seed; see `gather` for the arguments.

    Attributes:
        members: the panel.
        standings: where each of them stands in truth.
    """

    def __init__(
        self,
        spec: WorldSpec,
        size: AuditSize,
        store: Store,
        families: Mapping[str, Measure] | None = None,
        device: str = "cpu",
    ) -> None:
        self._world = World(spec, device)
        self._size, self._store = size, store
        self._families = audited() if families is None else families
        truth = self._world.sample(size.tokens, spec.seed, "truth")
        self._first = make_book(self._world, size.book, 0)
        self.members = make_panel(self._world, size.plan, truth, [_known(self._first)], store)
        self.standings = tuple(_standings(self._world, truth, self.members, size.book))

    def measure(self, seed: int) -> list[Observation]:
        """Return all values at a seed: of everybody at 0, of some trained ones at any other.

        Seed 0 is the measurement that a user makes; the others say how it would have varied.
        """
        if seed == 0:
            return [o for member in self.members for o in self._values(self._first, member, 0)]
        book = make_book(self._world, self._size.book, seed)
        noisy = _spread(self.members, self._size.noisy)
        return [o for member in noisy for o in self._values(book, member, seed)]

    def _values(self, book: Book, member: Member, seed: int) -> list[Observation]:
        latents = WorldLatents(book.texts, self._world.fingerprint, member.dictionary, self._store)
        return [
            Observation(member.name, seed, estimate.metric, setting, value)
            for measure in self._families.values()
            for estimate in measure(latents, book.tasks, seed, self._size.fits)
            if estimate.status not in ("not_applicable", "no_data")
            for setting, value in settings(estimate)
        ]


def _known(book: Book) -> Known:
    return book.texts.x, book.texts.features


def _standings(
    world: World, truth: Sample, members: Sequence[Member], book: BookSize
) -> list[Standing]:
    concepts = concepts_of(world, book)
    few = card_of("erasure").audited_tasks or 0
    found = []
    for member in members:
        agreed = agreement(member.dictionary, truth, world.rows)
        found.append(
            Standing(
                member.name,
                member.kind,
                member.step,
                _truth(agreed.of()),
                _truth(agreed.of(concepts.features)),
                _truth(agreed.of(concepts.of_pairs)),
                _truth(agreed.of(concepts.of_classes)),
                _truth(agreed.of(concepts.first(few, few).features)),
                member.run,
            )
        )
    return found


def _truth(recovery: Recovery) -> AuditTruth:
    return AuditTruth(recovery.f1, recovery.cosine, recovery.both)


def _spread(members: Sequence[Member], count: int) -> list[Member]:
    """Some trained dictionaries, evenly over the panel: of every architecture and step."""
    trained = [member for member in members if member.kind == "trained"]
    places = np.linspace(0, len(trained) - 1, min(count, len(trained))).round().astype(int)
    return [trained[place] for place in places]


def settings(estimate: Estimate) -> Iterator[tuple[str, float | None]]:
    """Give (setting, value) of an estimate, at every n where it is the curve's value at one.

    A setting reads `direction=spurious,n=20`; a metric without parameters has the setting ``.
    """
    curve: Any = estimate.details.get("curve")
    if not isinstance(curve, dict) or str(estimate.params.get("n")) not in curve:
        yield _setting(dict(estimate.params)), estimate.value
        return
    for n, at in curve.items():
        yield _setting({**estimate.params, "n": int(n)}), at["value"]


def _setting(params: dict[str, Any]) -> str:
    return ",".join(f"{name}={params[name]}" for name in sorted(params))
