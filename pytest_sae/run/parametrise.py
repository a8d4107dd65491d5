"""One test per SAE, and one per metric and setting: `test_scr[topk-scr:n:20]`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from pytest_sae.errors import PytestSAEError, suggest
from pytest_sae.families.registry import card_of, cards, known, spec_of
from pytest_sae.numbers.keys import id_of_key, metric_key
from pytest_sae.run.nodeids import MARKER

if TYPE_CHECKING:
    from pytest_sae.numbers.estimate import Param
    from pytest_sae.run.run import Run

#: All metrics of a family that no other test of the module names.
FAMILY = "sae_family"


def parametrise(metafunc: pytest.Metafunc, run: Run) -> None:
    """Give a test its SAEs and its metrics; mistakes become collection errors without traceback.

    Args:
        metafunc: pytest's, of the test; one that uses no SAE stays as it is.
        run: whose SAEs they are.

    Raises:
        pytest.fail.Exception: SAEs, thresholds, a baseline or a marker that cannot be used.
    """
    marked = list(metafunc.definition.iter_markers(MARKER))
    families = list(metafunc.definition.iter_markers(FAMILY))
    if "sae_spec" not in metafunc.fixturenames:
        if marked or families:
            _refuse(metafunc, "it must use an SAE: take core, scr, tpp or sae as an argument")
        return
    try:
        specs = run.specs
        run.thresholds_for(metafunc.definition.path)
        _ = run.baseline
    except PytestSAEError as error:
        pytest.fail(str(error), pytrace=False)
    # First, so that test ids begin with the SAE: the scheduler and the ledger read it there.
    metafunc.parametrize(
        "sae_spec", specs, ids=[spec.id for spec in specs], indirect=True, scope="session"
    )
    if marked or families:
        _parametrise_metric(metafunc, marked, families)


def _parametrise_metric(
    metafunc: pytest.Metafunc, marked: Sequence[pytest.Mark], families: Sequence[pytest.Mark]
) -> None:
    if "metric" not in metafunc.fixturenames:
        _refuse(metafunc, "the test must take an argument named metric")
    named = [key for mark in reversed(marked) for key in _keys(metafunc, mark)]
    rest = [key for mark in families for key in _rest(metafunc, mark)]
    keys = list(dict.fromkeys([*named, *rest]))
    told = pytest.mark.sae_metric(*dict.fromkeys(key.partition(":")[0] for key in keys))
    metafunc.parametrize(
        "metric", [pytest.param(key, id=id_of_key(key), marks=told) for key in keys]
    )


def _rest(metafunc: pytest.Metafunc, mark: pytest.Mark) -> Iterable[str]:
    """Give the keys of families that no test of the module names."""
    elsewhere = {name for each in _marks_of(metafunc.module) for name in each.args}
    for family in mark.args:
        if family not in {card.name for card in cards()}:
            near = suggest(str(family), [card.name for card in cards()])
            _refuse(metafunc, f"unknown family {family!r}.{near}", FAMILY)
        for name, params in card_of(family).named:
            if name not in elsewhere:
                yield metric_key(name, params)


def _marks_of(module: ModuleType) -> Iterable[pytest.Mark]:
    """Give every mark of metrics in a module, those of its classes' tests included."""
    classes = [each for each in vars(module).values() if isinstance(each, type)]
    holders = [module, *(each for each in classes if each.__module__ == module.__name__)]
    for test in (each for holder in holders for each in vars(holder).values()):
        yield from (each for each in getattr(test, "pytestmark", ()) if each.name == MARKER)


def _keys(metafunc: pytest.Metafunc, mark: pytest.Mark) -> Iterable[str]:
    if not mark.args:
        _refuse(metafunc, "it names no metric")
    for name in mark.args:
        if name not in known():
            near = suggest(str(name), known())
            _refuse(metafunc, f"unknown metric {name!r}.{near} Known: {', '.join(known())}")
        for params in _settings(mark) if mark.kwargs else spec_of(name).settings:
            yield metric_key(name, params)


def _settings(mark: pytest.Mark) -> Iterable[dict[str, Param]]:
    lists = [_values(value) for value in mark.kwargs.values()]
    for values in itertools.product(*lists):
        yield dict(zip(mark.kwargs, values, strict=True))


def _values(value: Param | Sequence[Param]) -> Sequence[Param]:
    return [value] if isinstance(value, str | int | float) else list(value)


def _refuse(metafunc: pytest.Metafunc, why: str, marker: str = MARKER) -> None:
    pytest.fail(f"{metafunc.definition.nodeid}: @pytest.mark.{marker}: {why}", pytrace=False)
