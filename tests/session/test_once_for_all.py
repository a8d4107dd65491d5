"""What depends on the model and the texts alone is computed for the first SAE, and for no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_sae.activations.store import Held
from pytest_sae.data import sae_probes
from pytest_sae.data.sae_probes import LastTokenTask, RowSplit
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.measure import last_token_probing, scr_and_tpp, sparse_probing
from pytest_sae.metrics import last_token_probing_baseline
from pytest_sae.models.model import LanguageModel
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.session.session import EvalSession, LoadedSAE
from tests.sessions import options, tiny_world

FAMILIES = ("scr", "tpp", "core", "sparse_probing", "erasure")
# Where each is called, and what does it.
FITTED: tuple[tuple[Any, str], ...] = (
    (scr_and_tpp.scr, "fit_probes"),
    (scr_and_tpp.class_probes, "fit_probes"),
    (sparse_probing, "fit_neurons"),
    (last_token_probing_baseline, "score"),
    (LanguageModel, "capture"),
)


def counted(patch: pytest.MonkeyPatch, of: Any, name: str) -> list[None]:
    """Let a function be called as before; the list gets longer by each call."""
    calls: list[None] = []
    real: Callable[..., Any] = getattr(of, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        return real(*args, **kwargs)

    patch.setattr(of, name, call)
    return calls


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_world(tmp_path_factory.mktemp("once"), "topk", "standard")


@pytest.fixture
def session(world: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EvalSession]:
    monkeypatch.setattr(sae_probes, "version", lambda: "test")
    session = EvalSession(options(world, controls="off"))
    yield session
    session.close()


def loaded(session: EvalSession, world: Path, name: str) -> LoadedSAE:
    return session.load(resolve([str(world / name)])[0])


def ends(session: EvalSession) -> LastTokenTask:
    """A data set of the session's own texts, whose labels are drawn."""
    assert session.tasks.corpus
    texts = tuple(session.tasks.corpus.texts[:40])
    rows = RowSplit(tuple(range(30)), tuple(range(30, len(texts))))
    return LastTokenTask(
        "drawn", texts, tuple(place % 2 > 0 for place in range(len(texts))), rows, rows
    )


def everything(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    found = [each.estimate for name in FAMILIES for each in session.measure(name, sae)]
    latents = session.latents(sae)
    return [*found, *last_token_probing.measure_tasks(latents, [ends(session)], 0, False)]


def test_a_second_sae_fits_and_runs_nothing_that_the_first_has(
    session: EvalSession, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (loaded(session, world, name) for name in ("topk", "standard"))
    calls = {f"{of.__name__}.{name}": counted(monkeypatch, of, name) for of, name in FITTED}
    everything(session, first)
    done = {name: len(each) for name, each in calls.items()}
    assert all(done.values()), done
    everything(session, second)
    assert {name: len(each) for name, each in calls.items()} == done


def test_the_clean_half_of_a_splice_is_run_once(
    session: EvalSession, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (loaded(session, world, name) for name in ("topk", "standard"))
    calls = counted(monkeypatch, LanguageModel, "logits_from")
    session.measure("core", first)
    once = len(calls)
    session.measure("core", second)
    # Of clean, spliced, and ablated to the mean and to zero only what is spliced is left.
    assert once > 0
    assert len(calls) - once == once / 4


def test_a_second_sae_has_the_values_that_it_has_alone(session: EvalSession, world: Path) -> None:
    everything(session, loaded(session, world, "topk"))
    after = everything(session, loaded(session, world, "standard"))
    alone = EvalSession(options(world, controls="off"))
    assert after == everything(alone, loaded(alone, world, "standard"))
    alone.close()


def test_what_has_no_room_is_computed_again(
    session: EvalSession, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.store.held = Held(limit=0)
    first, second = (loaded(session, world, name) for name in ("topk", "standard"))
    session.measure("core", first)
    calls = counted(monkeypatch, LanguageModel, "logits_from")
    found = session.measure("core", second)
    spliced = len(calls)
    alone = EvalSession(options(world, controls="off"))
    again = alone.measure("core", loaded(alone, world, "standard"))
    assert [each.estimate for each in found] == [each.estimate for each in again]
    assert len(calls) - spliced == 2 * spliced  # with the two ablated ones
    alone.close()


def test_tensors_are_kept_up_to_a_limit() -> None:
    held = Held(limit=16)
    small, large = torch.zeros(3), torch.zeros(5)
    held.keep(("small",), small)
    held.keep(("large",), large)
    held.keep(("more",), small)
    assert held.get(("small",)) is small
    assert held.get(("large",)) is held.get(("more",)) is None
