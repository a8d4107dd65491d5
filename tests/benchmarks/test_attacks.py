"""Dictionaries that are made to raise a concept metric without knowing more, on a small world.

What is true is asserted: that an attack wins nothing, or, where a metric is known to fall for it
(docs/audit.md, Attacks), how much it gets, so that a change is noticed. Truth is recovery of the
features that the tasks are about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.concept_packaged import RunTask, packaged, written
from benchmarks.concept_panels import RECIPES, STEPS, WRONG_K, Code, panel, recovery
from benchmarks.concept_worlds import Kind, KindWorld
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.session.threads import threads

SMALL = Kind("attacked", 60, 24, 11, most=0.05, concept=2, caused=False, k=3)
TRAINED, TRIPLED = f"{RECIPES[0].name}@{STEPS[-1]}", f"{WRONG_K}@{STEPS[-1]}"
TPP, SCR, REMOVAL = "tpp.rescaled:n=few", "scr.margin:direction=spurious,n=few", "removal"
GAIN, ERASURE = "sparse_probing.gain:k=2", "erasure"
ATTACKS = ("other roles halved", "asked doubled", "fifth dropped", TRIPLED, "shrunk")
#: Made without any training, or of the very labels that are asked about.
UNTRAINED = ("identity+-", "pca+-", "random tied", "dual basis", "class means")
_SLOW = ("erasure",)
_OF_ERASURE = (TRAINED, "fifth dropped", "identity+-", "class means", "oracle")


@dataclass(frozen=True)
class Measured:
    """Of one dictionary."""

    figures: Mapping[str, Estimate]
    recovery: float

    def value(self, metric: str) -> float:
        value = self.figures[metric].value
        assert value is not None
        return value


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Measured]:
    with threads(1):
        return _measured(tmp_path_factory.mktemp("panel"))


def _measured(cache: Path) -> dict[str, Measured]:
    world = KindWorld(SMALL)
    wanted = {TRAINED, "oracle", *ATTACKS, *UNTRAINED}
    codes = [c for c in panel(world, cache, (RECIPES[0], RECIPES[3])) if c.name in wanted]
    tasks = [RunTask(make(0, (100, 80), 0), 0) for make in (world.pair, world.multi)]
    return {code.name: _of(world, code, tasks) for code in codes}


def _of(world: KindWorld, code: Code, tasks: list[RunTask]) -> Measured:
    families = ["scr", "tpp", "removal", "sparse_probing"]
    families += _SLOW if code.name in _OF_ERASURE else ()
    truth = world.sample(6000, 5, "truth")
    found = packaged(tasks, code, written(world, code), families)
    return Measured(found, recovery(code, world, truth.x, truth.features)[0])


@pytest.mark.parametrize("metric", [TPP, SCR, REMOVAL, GAIN])
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_on_a_trained_dictionary_wins_no_more_than_its_noise(
    measured: Mapping[str, Measured], attack: str, metric: str
) -> None:
    before, after = (measured[each].figures[metric] for each in (TRAINED, attack))
    noise = math.hypot(before.se or 0.0, after.se or 0.0)
    assert measured[attack].recovery <= measured[TRAINED].recovery + 1e-9
    # To write what the tasks read twice as strongly wins up to 28 % of removal (docs/audit.md).
    won = 0.28 if (attack, metric) == ("asked doubled", REMOVAL) else 0.0
    assert measured[attack].value(metric) <= (1 + won) * measured[TRAINED].value(metric) + 2 * noise


def test_latents_that_no_task_reads_may_be_halved_and_no_concept_metric_moves(
    measured: Mapping[str, Measured],
) -> None:
    """The factor of `tpp.rescaled` is above 1 for it, which made the value rise by as much."""
    before, after = measured[TRAINED], measured["other roles halved"]
    assert float(after.figures[TPP].details["scale"]) > 1.04  # type: ignore[arg-type]
    for metric in (TPP, SCR, GAIN):
        assert after.value(metric) == pytest.approx(before.value(metric), rel=0.01), metric
    assert after.value(REMOVAL) == pytest.approx(before.value(REMOVAL), rel=0.06)


def test_three_times_the_right_number_of_active_latents_finds_less_and_gets_less(
    measured: Mapping[str, Measured],
) -> None:
    right, wrong = measured[TRAINED], measured[TRIPLED]
    assert wrong.recovery < right.recovery - 0.15
    assert wrong.value(TPP) < 0.9 * right.value(TPP)
    assert wrong.value(REMOVAL) < 0.85 * right.value(REMOVAL)
    assert wrong.value(GAIN) < right.value(GAIN)


def test_a_fifth_of_the_latents_dropped_is_seen_but_not_by_scr(
    measured: Mapping[str, Measured],
) -> None:
    right, less = measured[TRAINED], measured["fifth dropped"]
    assert less.value(TPP) < 0.8 * right.value(TPP)
    assert less.value(REMOVAL) < 0.6 * right.value(REMOVAL)
    assert less.value(ERASURE) < 0.5 * right.value(ERASURE)
    assert less.value(GAIN) < 0.0 < right.value(GAIN)
    assert less.value(SCR) == pytest.approx(right.value(SCR), abs=0.1)


@pytest.mark.parametrize(
    ("metric", "most"), [(TPP, 0.5), (REMOVAL, 0.3), (SCR, 0.45), (GAIN, 0.05)]
)
@pytest.mark.parametrize("dictionary", ["identity+-", "pca+-", "random tied"])
def test_what_nobody_trained_is_far_below_what_was_trained(
    measured: Mapping[str, Measured], dictionary: str, metric: str, most: float
) -> None:
    got, trained = (measured[each].value(metric) for each in (dictionary, TRAINED))
    assert got < most * trained


def test_removal_alone_gives_nothing_to_latents_that_are_made_of_the_labels(
    measured: Mapping[str, Measured],
) -> None:
    for dictionary in ("dual basis", "class means"):
        assert measured[dictionary].value(REMOVAL) < 0.2 * measured[TRAINED].value(REMOVAL)


@pytest.mark.parametrize(
    ("dictionary", "metric", "least"),
    [
        ("dual basis", TPP, 0.9),
        ("dual basis", SCR, 1.1),
        ("dual basis", GAIN, 0.9),
        ("class means", TPP, 0.7),
        ("class means", SCR, 1.4),
        ("class means", GAIN, 0.8),
        ("class means", ERASURE, 1.5),
        ("identity+-", ERASURE, 0.8),
    ],
)
def test_a_known_weakness_is_as_it_was(
    measured: Mapping[str, Measured], dictionary: str, metric: str, least: float
) -> None:
    """These know no feature of the world, and get as much as a dictionary that found them.

    A definition that mends one of them fails here, and docs/audit.md has then to say so.
    """
    assert measured[dictionary].recovery < 0.3 < measured[TRAINED].recovery
    got, trained = (measured[each].value(metric) for each in (dictionary, TRAINED))
    assert least * trained < got < (least + 0.8) * trained


def test_the_truth_is_first_and_erasure_too_puts_it_there(
    measured: Mapping[str, Measured],
) -> None:
    for metric in (TPP, REMOVAL):
        others = [each.value(metric) for name, each in measured.items() if name != "oracle"]
        assert measured["oracle"].value(metric) > max(others)
    assert measured["oracle"].value(ERASURE) > 2 * measured[TRAINED].value(ERASURE)
