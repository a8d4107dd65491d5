"""A card: all that the rest of the house has to know about a family of metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from pytest_sae.numbers.metric_spec import MetricSpec

if TYPE_CHECKING:
    from pytest_sae.numbers.estimate import Estimate, Param

SUITES = ("smoke", "standard", "paper")

Settings = tuple["Mapping[str, Param]", ...]
Sizes = Mapping[str, Mapping[str, "int | None"]]


@dataclass(frozen=True)
class Card:
    """A family of metrics, measured together.

    Nothing heavy is imported for it: what measures is named, and found when it is needed.

    Args:
        name: of the family, and of the fixture that measures it.
        title: one line for people, the heading of its metrics in reports.
        measure: what measures all of it, as `module:function`; takes a `measure.given.Given` and
            returns its estimates.
        metrics: what it measures, in the order of reports.
        code: version of what computes it: raise it when the same inputs give other numbers.
        tables: of the task file, any one of which it needs.
        on_tasks: whether it rests on labelled tasks, which a recording alone does not have.
        predicts: whether the model must predict next tokens.
        alone: whether single tokens must be readable, without those before them.
        uses: what it is given beside latents and tasks: `judge`, `scorer`, `embedder`, `twin`.
        sizes: by suite, how much of what is spent.
        of_judge: whether its figures are the judge's own, the same for every SAE.
        shown: whether texts are shown to the judge.
        random: whether its values depend on the seed, so that --sae-repeats repeats it.
        cheap_controls: names of `numbers.control.CONTROLS` on which it is measured by default.
        more_controls: those that take long, ask the judge, or have the model read more.
        control_draws: how many of each random control are drawn; several where the figures of two
            draws differ by more than their standard errors.
        control_texts: on whose activations its controls are made: those that it reads anyway.
        word_deletion: what measures the control of that name, as `module:function`.
        audited: whether the audit measures it on worlds whose truth is known.
        audited_tasks: of each kind at most, in an audit; None for all of them.
    """

    name: str
    title: str
    measure: str
    metrics: tuple[MetricSpec, ...]
    code: str = "1"
    tables: tuple[str, ...] = ()
    on_tasks: bool = False
    predicts: bool = False
    alone: bool = False
    uses: frozenset[str] = frozenset()
    sizes: Sizes = field(default_factory=dict)
    of_judge: bool = False
    shown: bool = False
    random: bool = True
    cheap_controls: tuple[str, ...] = ()
    more_controls: tuple[str, ...] = ()
    control_draws: int = 1
    control_texts: Literal["corpus", "tasks"] = "tasks"
    word_deletion: str = ""
    audited: bool = False
    audited_tasks: int | None = None

    @property
    def judged(self) -> bool:
        """Whether a judge has a say in it."""
        return "judge" in self.uses

    @property
    def reads(self) -> tuple[str, ...]:
        """Kinds of tables whose tasks it measures, each if it is there."""
        return self.tables or (("scr", "tpp", "transfer") if self.on_tasks else ())

    @property
    def named(self) -> Iterator[tuple[str, Mapping[str, Param]]]:
        """Every metric at every setting at which it is tested by default."""
        return ((spec.name, params) for spec in self.metrics for params in spec.settings)

    def absent(self, make: Callable[..., Estimate], reason: str) -> list[Estimate]:
        """Return all that it measures without values, for one reason.

        Args:
            make: `undefined`, `not_applicable` or `no_data`.
            reason: why there are none.
        """
        return [make(name, reason, params) for name, params in self.named]


Range = tuple["float | None", "float | None"]

ANY: Range = (None, None)
SHARE: Range = (0.0, 1.0)
SIGNED: Range = (-1.0, 1.0)
POSITIVE: Range = (0.0, None)
FROM_ONE: Range = (1.0, None)
AT_MOST_ONE: Range = (None, 1.0)


def higher(name: str, title: str, of: Range = ANY, unit: str = "", **more: Any) -> MetricSpec:
    """Return a metric that is better when it is higher.

    Args:
        name: of the metric, as in reports.
        title: one line for people.
        of: (least, largest) possible value, None where there is no limit.
        unit: of its values, empty for none.
        more: other fields of `MetricSpec`.
    """
    return MetricSpec(name, "higher", unit, *of, title, **more)


def lower(name: str, title: str, of: Range = ANY, unit: str = "", **more: Any) -> MetricSpec:
    """Return a metric that is better when it is lower.

    Args:
        name: of the metric, as in reports.
        title: one line for people.
        of: (least, largest) possible value, None where there is no limit.
        unit: of its values, empty for none.
        more: other fields of `MetricSpec`.
    """
    return MetricSpec(name, "lower", unit, *of, title, **more)


def neither(name: str, title: str, of: Range = ANY, unit: str = "", **more: Any) -> MetricSpec:
    """Return a metric of which no way is better: a budget, a description, a reference.

    Args:
        name: of the metric, as in reports.
        title: one line for people.
        of: (least, largest) possible value, None where there is no limit.
        unit: of its values, empty for none.
        more: other fields of `MetricSpec`.
    """
    return MetricSpec(name, "none", unit, *of, title, **more)


def under(heading: str, *metrics: MetricSpec) -> tuple[MetricSpec, ...]:
    """Return metrics that stand under a heading of their own in reports.

    Args:
        heading: of that part of the report.
        metrics: in the order of the report.
    """
    return tuple(replace(each, heading=heading) for each in metrics)


def found(reference: str) -> Callable[..., list[Estimate]]:
    """Return what a card names as `module:function`."""
    module, _, name = reference.partition(":")
    function: Callable[..., list[Estimate]] = getattr(import_module(module), name)
    return function


def grid(**values: Any) -> Settings:
    """Return every combination of values, such as `grid(n=20, direction=("a", "b"))`."""
    lists = [each if isinstance(each, tuple) else (each,) for each in values.values()]
    return tuple(dict(zip(values, each, strict=True)) for each in product(*lists))


def per_suite(**sizes: tuple[int | None, int | None, int | None]) -> Sizes:
    """Return sizes by suite, each given for all of `SUITES`."""
    return {
        suite: {name: values[place] for name, values in sizes.items()}
        for place, suite in enumerate(SUITES)
    }
