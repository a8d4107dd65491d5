"""On planted panels every question has a known answer."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, spearmanr

from pytest_sae.audit.panel_checks import unsound
from pytest_sae.audit.questions import audit
from pytest_sae.audit.ranks import weighted_correlations
from pytest_sae.audit.summary import audit_record, world_of, world_record
from pytest_sae.audit.values import Observation, WorldAudit
from pytest_sae.records.audit import AuditMetric
from tests.audit.planted import standing, world


def of(*worlds: WorldAudit, direction: str = "higher") -> AuditMetric:
    (found,) = audit(worlds, {"planted": direction})
    return found


def test_a_metric_that_is_the_truth_reaches_every_goal():
    found = of(world(lambda truth, _: truth))
    assert found.misses == ()
    assert found.cv == pytest.approx(0, abs=1e-12)
    assert (found.task.value, found.task.low, found.task.high) == pytest.approx((1, 1, 1))
    assert found.ordered == 1
    assert found.checkpoints == 18
    assert found.oracle_first == found.controls_last == 1


def test_a_metric_that_is_the_truth_turned_round_reaches_none_of_them_but_silence():
    found = of(world(lambda truth, _: 1 - truth))
    assert found.task.value == pytest.approx(-1)
    assert found.ordered == 0
    assert found.oracle_first == found.controls_last == 0
    assert found.detects is None
    assert found.misses == ("truth", "training", "oracle", "controls")


@pytest.mark.parametrize(
    ("metric", "last"), [("sparse_probing.gain", 1), ("tpp.margin", 0), ("own", 0), ("l0", None)]
)
def test_those_controls_must_be_last_that_a_run_asks_to_be_below(metric: str, last: float | None):
    """A permuted decoder as good as what was trained: it is, for what reads latents alone."""
    planted = world(lambda truth, _: truth)
    permuted = standing("permuted_decoder", "control", "permuted_decoder", 0, 0.04)
    known = [replace(each, metric=metric) for each in planted.observations]
    found = of(
        replace(
            planted,
            standings=(*planted.standings, permuted),
            observations=(*known, Observation("permuted_decoder", 0, metric, "", 0.5)),
        )
    )
    assert found.controls_last == last
    assert ("controls" in found.misses) == (last != 1)


def test_lower_is_better_where_the_registry_says_so():
    found = of(world(lambda truth, _: 1 - truth), direction="lower")
    assert found.misses == ()
    assert found.task.value == pytest.approx(1)


def test_noise_is_the_planted_coefficient_of_variation():
    sd = 0.05
    found = of(world(lambda truth, rng: truth + sd * rng.normal(), reseeds=400))
    trained = 0.2 + 0.15 + 0.1  # the mean recovery of the planted trainings
    assert found.cv == pytest.approx(sd / trained, rel=0.05)
    between = np.std([0.2 + 0.1 * p + 0.04 * r for p in range(4) for r in range(6)], ddof=1)
    assert found.noise == pytest.approx(sd / between, rel=0.15)


def test_the_smallest_difference_is_that_of_a_normal_test():
    """Unpaired noise sd in each: differences have sd sqrt(2), told at 3.6 of these."""
    sd = 0.02
    found = of(world(lambda truth, rng: truth + sd * rng.normal(), reseeds=400))
    needed = (norm.ppf(0.975) + norm.ppf(0.95)) * sd * np.sqrt(2)
    assert found.detects is not None
    # Planted differences are multiples of 0.02, and pairs above the smallest have more power.
    assert needed - 0.06 < found.detects < needed + 0.02


def test_noise_that_two_dictionaries_share_does_not_hide_their_difference():
    shifts: dict[int, float] = {}

    def shared(truth: float, rng: np.random.Generator) -> float:
        place = len(shifts)
        shifts[place] = rng.normal() if place % 24 == 2 else shifts.get(place - 1, 0.0)
        return truth + shifts[place]

    found = of(world(shared))
    assert found.cv is not None
    assert found.cv > 0.5
    assert found.detects == pytest.approx(0.02, abs=1e-9)


def test_pairs_of_checkpoints_that_recover_alike_are_in_no_order():
    planted = world(lambda truth, _: truth)
    flat = tuple(
        replace(each, task=replace(each.task, both=0.3)) if each.kind == "trained" else each
        for each in planted.standings
    )
    found = of(replace(planted, standings=flat))
    assert (found.ordered, found.checkpoints) == (None, 0)
    assert found.task.value is None
    assert "training" in found.misses


def test_settings_agree_as_far_as_their_ranks_do():
    parts = [
        world(lambda truth, _: truth, setting="n=2"),
        world(lambda truth, _: -truth, setting="n=5"),
        world(lambda truth, _: truth**3, setting="n=20"),
    ]
    joined = replace(parts[0], observations=sum((each.observations for each in parts), ()))
    found = {each.setting: each.consistency for each in audit([joined], {})}
    assert found == pytest.approx({"n=2": 0, "n=5": -1, "n=20": 0}, abs=1e-9)


def test_one_world_in_which_the_oracle_is_not_first_is_one_miss():
    good, bad = world(lambda truth, _: truth), world(lambda truth, _: truth * (truth < 0.9))
    found = of(good, replace(bad, world="other"))
    assert found.oracle_first == 0.5
    assert "oracle" in found.misses


def test_an_undefined_value_is_left_out_and_counted():
    found = of(world(lambda truth, _: None if truth > 0.9 else truth))
    assert found.undefined == pytest.approx(1 / 26)
    assert found.oracle_first == 0
    assert found.task.value == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3)), min_size=4))
def test_counted_units_correlate_as_repeated_ones_do(units: list[tuple[int, int, int]]):
    one, two, counts = (np.array(column, float) for column in zip(*units, strict=True))
    repeated = [np.repeat(values, counts.astype(int)) for values in (one, two)]
    if len(repeated[0]) < 2:
        return
    (found,) = weighted_correlations(one, two, counts[None])
    if np.ptp(repeated[0]) == 0 or np.ptp(repeated[1]) == 0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(*repeated)[0], abs=1e-9)


def test_a_sound_panel_is_called_sound_and_every_defect_is_named():
    good = world(lambda truth, _: truth)
    assert unsound(good) == []
    shifted = tuple(
        replace(each, task=replace(each.task, both=0.4 if each.kind == "trained" else 0.5))
        for each in good.standings
    )
    told = "\n".join(unsound(replace(good, standings=shifted)))
    assert "the oracle recovers 0.5" in told
    assert "a control recovers 0.500" in told
    assert "a spread of 0.2" in told
    assert "planted  has no value" in "\n".join(unsound(world(lambda *_: None)))


def test_a_record_travels_as_json_and_comes_back():
    planted = world(lambda truth, _: truth, reseeds=2)
    sent = json.loads(json.dumps(world_record(planted)))
    assert world_of(sent) == planted
    told = audit_record("small", [sent])
    assert told["worlds"][0]["seeds"] == 2
    assert told["metrics"][0]["misses"] == ()
