"""One test per SAE, and one per metric and setting: `test_scr[topk-scr:n:20]`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pytest

from pytest_sae.errors import PytestSAEError, suggest
from pytest_sae.families.registry import known, spec_of
from pytest_sae.numbers.keys import id_of_key, key_of_id, metric_key

if TYPE_CHECKING:
    from pytest_sae.numbers.estimate import Param
    from pytest_sae.run.run import Run

MARKER = "sae_metric"


def parametrise(metafunc: pytest.Metafunc, run: Run) -> None:
    """Give a test its SAEs and its metrics; mistakes become collection errors without traceback."""
    marked = list(metafunc.definition.iter_markers(MARKER))
    if "sae_spec" not in metafunc.fixturenames:
        if marked:
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
    if marked:
        _parametrise_metric(metafunc, marked)


def _parametrise_metric(metafunc: pytest.Metafunc, marked: Sequence[pytest.Mark]) -> None:
    if "metric" not in metafunc.fixturenames:
        _refuse(metafunc, "the test must take an argument named metric")
    keys = list(dict.fromkeys(key for mark in reversed(marked) for key in _keys(metafunc, mark)))
    metafunc.parametrize("metric", keys, ids=[id_of_key(key) for key in keys])


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


def _refuse(metafunc: pytest.Metafunc, why: str) -> None:
    pytest.fail(f"{metafunc.definition.nodeid}: @pytest.mark.{MARKER}: {why}", pytrace=False)


def sae_of_nodeid(nodeid: str, sae_ids: Iterable[str]) -> str | None:
    """Return the SAE that a test id begins with, None if it begins with none."""
    params = _params(nodeid)
    longest_first = sorted(sae_ids, key=len, reverse=True)
    return next((s for s in longest_first if params == s or params.startswith(f"{s}-")), None)


def key_of_nodeid(nodeid: str, sae: str) -> str | None:
    """Return the metric key that follows the SAE in a test id, None if no metric does."""
    key = key_of_id(_params(nodeid)[len(sae) + 1 :])
    return key if key and key.partition(":")[0] in known() else None


def _params(nodeid: str) -> str:
    return nodeid.partition("[")[2].rpartition("]")[0]
