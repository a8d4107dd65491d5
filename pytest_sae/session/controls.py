"""The controls of an SAE in a session: each measured as the SAE is, in the same session."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_sae.data.shuffled import shuffled
from pytest_sae.errors import MeasurementError, PytestSAEError
from pytest_sae.families.card import Card
from pytest_sae.families.card import found as function_of
from pytest_sae.families.registry import expected_of, spec_of
from pytest_sae.measure import control_dictionaries as making
from pytest_sae.measure.given import Given, measured
from pytest_sae.measure.scr_and_tpp import erasure_texts
from pytest_sae.numbers.control import CONTROLS, Control, Expected
from pytest_sae.numbers.estimate import Estimate, not_applicable, undefined
from pytest_sae.numbers.keys import metric_key
from pytest_sae.numbers.plain import INTERVAL
from pytest_sae.option_values import CONTROL_SETS

if TYPE_CHECKING:
    from pytest_sae.measure.control_dictionaries import TokenSample, Twin

OFF, CHEAP, ALL = CONTROL_SETS
Needed = Mapping[str, Collection[str]]
NOTHING: Needed = MappingProxyType({})


def chosen(asked: str, card: Card, needed: Needed = NOTHING) -> list[str]:
    """Return the controls that a family is measured on, in the order of `CONTROLS`.

    Args:
        asked: `off`, `cheap`, `all`, or names with commas between them.
        card: names those that the family has.
        needed: by metric, those that bounds are relative to, whatever was asked for.
    """
    wanted = {
        OFF: (),
        CHEAP: card.cheap_controls,
        ALL: (*card.cheap_controls, *card.more_controls),
    }.get(asked, tuple(asked.split(",")))
    for_bounds = (name for spec in card.metrics for name in needed.get(spec.name, ()))
    has = {*card.cheap_controls, *card.more_controls} & {*wanted, *for_bounds}
    return [name for name in CONTROLS if name in has]


@dataclass
class Controls:
    """The controls of one SAE; what two families share of one is made once.

    Args:
        asked: which are measured, as in `chosen`.
        needed: by metric, those that bounds are relative to.
    """

    asked: str
    needed: Needed = field(default_factory=dict)
    _samples: dict[tuple[str, ...], TokenSample] = field(default_factory=dict)
    _twins: dict[tuple[str, int, tuple[str, ...]], list[Twin] | str] = field(default_factory=dict)

    def of(
        self, card: Card, given: Given, estimates: Sequence[Estimate]
    ) -> Mapping[str, tuple[Control, ...]]:
        """Measure a family on all its controls.

        Args:
            card: of the family.
            given: what it measured the SAE from.
            estimates: what it measured on the SAE.

        Returns:
            The controls of each metric and setting that the SAE has a figure of, by key.
        """
        wanted = {_key(each): each for each in estimates if each.status == "ok"}
        found: dict[str, tuple[Control, ...]] = {}
        for name in chosen(self.asked, card, self.needed) if wanted else ():
            fingerprint, reached = self._named(name, card, given, estimates)
            for each in reached:
                own, expected = wanted.get(_key(each)), expected_of(each.metric, name)
                if own is not None and expected is not None:
                    control = beside(name, expected, each, own, fingerprint)
                    found[_key(each)] = (*found.get(_key(each), ()), control)
        return found

    def _named(
        self, name: str, card: Card, given: Given, estimates: Sequence[Estimate]
    ) -> tuple[str, Sequence[Estimate]]:
        """Measure a control; what goes wrong there says that it was not the SAE."""
        with given.latents.store.work.timed(f"control {name}"):
            try:
                return self._measured(name, card, given, estimates)
            except PytestSAEError as error:
                raise MeasurementError(
                    f"control {name}: {error} Leave it out with --sae-controls, which names those "
                    "that are measured."
                ) from error

    def _measured(
        self, name: str, card: Card, given: Given, estimates: Sequence[Estimate]
    ) -> tuple[str, Sequence[Estimate]]:
        """Return the fingerprint of a control's dictionary, and what the family says of it."""
        why = making.why_not(name, given.latents)
        if why:
            return "", [not_applicable(each.metric, why, each.params) for each in estimates]
        if name == "shuffled_labels":
            return "", measured(card, replace(given, tasks=shuffled(given.tasks, given.seed)))
        if name == "word_deletion":
            return "", function_of(card.word_deletion)(given) if card.word_deletion else []
        twins = self._made(name, card, given)
        if isinstance(twins, str):
            return "", [undefined(each.metric, twins, each.params) for each in estimates]
        draws = [measured(card, replace(given, latents=twin.latents)) for twin in twins]
        return twins[0].dictionary.fingerprint, [
            over_draws(each) for each in zip(*draws, strict=True)
        ]

    def _made(self, name: str, card: Card, given: Given) -> list[Twin] | str:
        texts, draws = tuple(_texts(card, given)), card.control_draws
        if texts not in self._samples:
            self._samples[texts] = making.sampled(given.latents, texts)
        key = (name, draws, texts)
        if key not in self._twins:
            sample = self._samples[texts]
            self._twins[key] = making.make(name, given.latents, sample, given.seed, draws)
        return self._twins[key]


def _texts(card: Card, given: Given) -> Sequence[str]:
    if card.control_texts == "corpus":
        return given.corpus("controls").texts
    return erasure_texts(given.tasks) or [t for task in given.tasks.senses for t in task.texts]


def over_draws(draws: Sequence[Estimate]) -> Estimate:
    """Return the mean of a figure over draws of one control.

    Its standard error holds how far the draws lie apart (one of them, not their mean, is what an
    SAE could happen to be), besides that of the figure itself.

    Args:
        draws: the same metric and setting of each.
    """
    first = draws[0]
    if len(draws) == 1 or any(each.value is None for each in draws):
        return first
    values = [float(each.value) for each in draws if each.value is not None]
    errors = [each.se for each in draws if each.se is not None]
    value, apart = statistics.fmean(values), statistics.stdev(values)
    se = math.hypot(statistics.fmean(errors), apart) if len(errors) == len(draws) else None
    return replace(
        first,
        value=value,
        se=se,
        ci=None if se is None else (value - INTERVAL * se, value + INTERVAL * se),
        n={**first.n, "draws": len(draws)},
        influence=_mean_influence(draws),
        details={"apart": apart},
    )


def _mean_influence(draws: Sequence[Estimate]) -> tuple[float, ...]:
    if len({len(each.influence) for each in draws}) > 1:
        return ()
    return tuple(map(statistics.fmean, zip(*(each.influence for each in draws), strict=True)))


def drawn_apart(estimate: Estimate) -> float:
    """Return the standard deviation of a figure between draws, 0 for one of a single draw."""
    apart = estimate.details.get("apart", 0.0) if "draws" in estimate.n else 0.0
    return float(apart) if isinstance(apart, float) else 0.0


def _key(estimate: Estimate) -> str:
    return metric_key(estimate.metric, estimate.params)


def beside(
    name: str, expected: Expected, estimate: Estimate, own: Estimate, fingerprint: str = ""
) -> Control:
    """Return what a metric says of a control, as it stands beside an SAE's own figure.

    Args:
        name: of the control.
        expected: what must hold of it.
        estimate: of the control.
        own: the same metric and setting of the SAE.
        fingerprint: of the control's dictionary; empty where it has none.
    """
    # Other labels are other cells, from which texts are drawn otherwise: nothing there is paired.
    alike = name in making.MAKERS and len(own.influence) == len(estimate.influence) > 0
    paired = math.dist(own.influence, estimate.influence) if alike else None
    if paired is not None:
        paired = math.hypot(paired, drawn_apart(estimate))
    return Control(
        name,
        expected,
        spec_of(estimate.metric).direction,
        estimate.value,
        estimate.se,
        estimate.ci,
        estimate.n,
        estimate.status,
        estimate.reason,
        spec_of(estimate.metric).chance,
        fingerprint,
        paired,
    )
