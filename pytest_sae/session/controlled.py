"""The controls of an SAE in a session: each measured as the SAE is, in the same session."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_sae.data.shuffled import shuffled
from pytest_sae.errors import MeasurementError, PytestSAEError
from pytest_sae.gate.controls import chance_of, expected_of
from pytest_sae.measure import controls as making
from pytest_sae.numbers.control import CONTROLS, Control, Expected
from pytest_sae.numbers.estimate import Estimate, not_applicable, undefined
from pytest_sae.numbers.keys import metric_key
from pytest_sae.numbers.registry import spec_of
from pytest_sae.option_values import CONTROL_SETS

if TYPE_CHECKING:
    from pytest_sae.families import Family
    from pytest_sae.measure.controls import Sample, Twin
    from pytest_sae.session.session import EvalSession, LoadedSAE

_Z = 1.959963984540054  # normal quantile of the 95 % interval
OFF, CHEAP, ALL = CONTROL_SETS


def chosen(asked: str, family: Family) -> list[str]:
    """Return the controls that a family is measured on, in the order of `CONTROLS`.

    Args:
        asked: `off`, `cheap`, `all`, or names with commas between them.
        family: names those that it has.
    """
    wanted = {
        OFF: (),
        CHEAP: family.cheap_controls,
        ALL: (*family.cheap_controls, *family.more_controls),
    }.get(asked, tuple(asked.split(",")))
    has = {*family.cheap_controls, *family.more_controls} & set(wanted)
    return [name for name in CONTROLS if name in has]


@dataclass
class Controlled:
    """The controls of one SAE; what two families share of one is made once.

    Args:
        session: measures.
        sae: under test.
    """

    session: EvalSession
    sae: LoadedSAE
    _samples: dict[tuple[str, ...], Sample] = field(default_factory=dict)
    _twins: dict[tuple[str, int, tuple[str, ...]], list[Twin] | str] = field(default_factory=dict)

    def of(
        self, family: Family, estimates: Sequence[Estimate]
    ) -> Mapping[str, tuple[Control, ...]]:
        """Measure a family on all its controls.

        Args:
            family: to measure.
            estimates: what it measured on the SAE.

        Returns:
            The controls of each metric and setting that the SAE has a figure of, by key.
        """
        wanted = {_key(each): each for each in estimates if each.status == "ok"}
        found: dict[str, tuple[Control, ...]] = {}
        for name in chosen(self.session.controls, family) if wanted else ():
            fingerprint, measured = self._named(name, family, estimates)
            for each in measured:
                own, expected = wanted.get(_key(each)), expected_of(each.metric, name)
                if own is not None and expected is not None:
                    control = _control(name, expected, each, own, fingerprint)
                    found[_key(each)] = (*found.get(_key(each), ()), control)
        return found

    def _named(
        self, name: str, family: Family, estimates: Sequence[Estimate]
    ) -> tuple[str, Sequence[Estimate]]:
        """Measure a control; what goes wrong there says that it was not the SAE."""
        with self.session.store.work.timed(f"control {name}"):
            try:
                return self._measured(name, family, estimates)
            except PytestSAEError as error:
                raise MeasurementError(
                    f"control {name}: {error} Leave it out with --sae-controls, which names those "
                    "that are measured."
                ) from error

    def _measured(
        self, name: str, family: Family, estimates: Sequence[Estimate]
    ) -> tuple[str, Sequence[Estimate]]:
        """Return the fingerprint of a control's dictionary, and what the family says of it."""
        why = making.why_not(name, self.session.latents(self.sae))
        if why:
            return "", [not_applicable(each.metric, why, each.params) for each in estimates]
        if name == "shuffled_labels":
            tasks = shuffled(self.session.tasks, self.session.options.seed)
            return "", family.measure(self.session.with_tasks(tasks), self.sae)
        if name == "word_deletion":
            return "", family.deletion(self.session, self.sae) if family.deletion else []
        twins = self._made(name, family)
        if isinstance(twins, str):
            return "", [undefined(each.metric, twins, each.params) for each in estimates]
        draws = [self._of_twin(family, twin) for twin in twins]
        return twins[0].dictionary.fingerprint, [
            over_draws(each) for each in zip(*draws, strict=True)
        ]

    def _of_twin(self, family: Family, twin: Twin) -> Sequence[Estimate]:
        sae = replace(self.sae, dictionary=twin.dictionary)
        return family.measure(self.session.with_latents(sae, twin.latents), sae)

    def _made(self, name: str, family: Family) -> list[Twin] | str:
        latents, seed = self.session.latents(self.sae), self.session.options.seed
        texts, draws = tuple(family.control_texts(self.session)), family.control_draws
        if texts not in self._samples:
            self._samples[texts] = making.sampled(latents, texts)
        key = (name, draws, texts)
        if key not in self._twins:
            self._twins[key] = making.make(name, latents, self._samples[texts], seed, draws)
        return self._twins[key]


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
        ci=None if se is None else (value - _Z * se, value + _Z * se),
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


def _control(
    name: str, expected: Expected, estimate: Estimate, own: Estimate, fingerprint: str
) -> Control:
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
        chance_of(estimate.metric),
        fingerprint,
        paired,
    )
