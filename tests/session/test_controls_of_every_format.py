"""SAEs of every format can be held to the shipped bounds: they have the controls of those."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_sae.dictionaries.spec import resolve
from pytest_sae.families.expected import DRAWS
from pytest_sae.families.registry import spec_of
from pytest_sae.gate.bounds import load_thresholds
from pytest_sae.gate.planned import controls_needed
from pytest_sae.gate.rules import Rule
from pytest_sae.gate.verdict import judge
from pytest_sae.records.measurement import Measurement
from pytest_sae.run.run import shipped_thresholds
from pytest_sae.session.session import EvalSession
from tests.dictionaries.formats.every_format import ROWS, D
from tests.labelled import labelled_data
from tests.session.test_session import options
from tests.tiny import tiny_model

RULES = load_thresholds(shipped_thresholds())
# An untrained model gains nothing from its activations, so that no cross-entropy is recovered.
RELATIVE = {
    name: rule
    for name, rule in RULES.rules.items()
    if rule.gate and rule.bound and name != "ce_recovered"
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("world")
    tiny_model(directory / "model", d=D)
    (directory / "data").mkdir()
    labelled_data(directory / "data", per_cell=40)
    return directory


def measured(row: str, world: Path, folder: Path) -> dict[str, Measurement]:
    session = EvalSession(options(world), needed=controls_needed([RULES]))
    spec, *_ = resolve([ROWS[row](folder / row, str(world / "model"))])
    return {each.key: each for each in session.measure("core", session.load(spec))}


def judgeable(measurement: Measurement, rule: Rule) -> bool:
    direction = spec_of(measurement.estimate.metric).direction
    verdict = judge(measurement.estimate, rule, "", None, measurement.controls, direction)
    return verdict.name != "unmeasured"


@pytest.mark.parametrize("row", ROWS)
def test_every_format_can_be_judged_by_every_shipped_bound(
    row: str, world: Path, tmp_path: Path
) -> None:
    found = measured(row, world, tmp_path)
    for name, rule in RELATIVE.items():
        beside = {each.control: each for each in found[name].controls}
        assert found[name].estimate.status == "ok", found[name].estimate.reason
        assert beside["random"].status == "ok"
        assert "pca" not in (rule.bound.end if rule.bound else "") or beside["pca"].status == "ok"
        assert judgeable(found[name], rule)


def test_a_temporal_sae_is_ablated_beside_all_its_controls(world: Path, tmp_path: Path) -> None:
    session = EvalSession(options(world, controls="all"))
    spec, *_ = resolve([ROWS["sae_lens-temporal"](tmp_path / "sae", str(world / "model"))])
    found = session.measure("tpp", session.load(spec))
    ok = next(each for each in found if each.estimate.status == "ok")
    beside = {each.control: each for each in ok.controls}
    dictionaries = ("random", "random_tied", "permuted_decoder")
    assert {beside[name].status for name in dictionaries} == {"ok"}
    assert {beside[name].n["draws"] for name in dictionaries} == {DRAWS}
