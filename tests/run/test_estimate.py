"""What a run is estimated to cost is what it costs, where it can be counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_sae.models.load import outline
from pytest_sae.run.estimate import Cost, Costs, Estimated, Rates, together, told
from pytest_sae.session.memory import Needed, Texts
from pytest_sae.session.suites import SUITES
from tests.labelled import labelled_data
from tests.sessions import opened, tiny_world


@pytest.fixture(autouse=True)
def at_a_known_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is timed is another matter."""
    monkeypatch.setattr(Rates, "timed", lambda *_: Rates(products=1e9, encode=1e-3))


@pytest.mark.parametrize("per_cell", [8, 20, 50])
def test_tokens_and_disk_are_those_of_the_run(per_cell: int, tmp_path: Path) -> None:
    world = tiny_world(tmp_path, "topk")
    labelled_data(world / "data", per_cell=per_cell)
    session, sae = opened(world, "topk", cache=str(tmp_path / "cache"))
    model = outline(str(world / "model"))
    costs = Costs(session.tasks, SUITES["smoke"])
    found = costs.of(sae.dictionary, model, (sae.site, sae.site_out))
    for family in ("core", "scr", "tpp", "sparse_probing", "structure"):
        session.measure(family, sae)
    work = session.store.work
    assert found.tokens == work.encoded_tokens
    # Beside the activations there are headers, and the probes that were fitted.
    assert found.total.disk <= work.bytes_written <= 1.1 * found.total.disk + 2**17
    stages = {cost.stage: cost for cost in found.costs}
    assert stages["encode"].seconds == pytest.approx(1e-3 * work.encoded_tokens)


def test_several_saes_run_the_model_once() -> None:
    needed = Needed(100, 100, 64, 4, 4, Texts())
    one = Estimated((Cost("model", 5.0, 2**30, 2**20), Cost("core", 1.0, 2**31)), 10, needed)
    assert one.total == Cost("in all", 6.0, 2**31, 2**20)
    assert together([one, one, one]).startswith("8 s, 2.0 GiB of memory and 1 MiB of disk")
    assert [line.split()[0] for line in one.table] == ["stage", "model", "core", "in"]


def test_bytes_are_told_in_units_of_their_size() -> None:
    assert [told(5 * 2**19), told(3 * 2**29)] == ["2 MiB", "1.5 GiB"]
