"""The document of reference values: which metrics it tells, at which setting, of which SAE."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.reference_values import Planned, document, headlines, planned, section
from pytest_sae.audit.document import BY_HAND, handwritten
from pytest_sae.families.registry import cards
from pytest_sae.gate.verdict import judge
from pytest_sae.numbers.control import Control
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.measurement import Measurement
from pytest_sae.records.report import SAE
from tests.records.rows import row_of
from tests.reports.examples import report, row

PLAN = Planned("small", {"good": "saes/a"}, "tasks.toml", worthless={"bad": "saes/b"})
SAES = (SAE("a", "saes/a", "saes/a"), SAE("b", "saes/b", "saes/b"))


def test_every_headline_metric_of_the_cards_has_one_line_at_a_setting_that_its_card_tests() -> None:
    told = {spec.name: dict(params) for spec, params in headlines()}
    assert len(list(headlines())) == len(told)
    assert set(told) == {spec.name for card in cards() for spec in card.metrics if spec.headline}
    assert all(
        told[spec.name] in list(map(dict, spec.settings))
        for card in cards()
        for spec in card.metrics
        if spec.name in told
    )
    assert told["removal"] == {}


def test_a_column_holds_the_values_of_the_sae_that_its_label_names() -> None:
    rows = [row(Estimate("explained_variance", value, se=0.01), sae=sae)
            for sae, value in (("b", -0.5), ("a", 0.9))]  # fmt: skip
    text = section(PLAN, report(rows, saes=SAES))
    assert "| metric | good | bad | told apart | how to read it |" in text
    assert "| `explained_variance` | 0.9 ± 0.01 | -0.5 ± 0.01 | +99 se |" in text


@pytest.mark.parametrize(("values", "told"), [((0.9, 0.5), "+8 se"), ((0.5, 0.9), "-8 se")])
def test_a_good_one_is_told_from_a_worthless_one_in_errors_of_their_difference(
    values: tuple[float, float], told: str
) -> None:
    errors = (0.03, 0.04)
    rows = [row(Estimate("removal", value, se=se), sae=sae)
            for sae, value, se in zip("ab", values, errors, strict=True)]  # fmt: skip
    assert f"| {told} |" in section(PLAN, report(rows, saes=SAES))


def test_where_lower_is_better_the_good_one_has_to_be_below() -> None:
    rows = [row(Estimate("mdl", value, {"error": 0.05}, se=3.0), sae=sae)
            for sae, value in (("a", 100.0), ("b", 130.0))]  # fmt: skip
    assert "| +7 se |" in section(PLAN, report(rows, saes=SAES))


def test_what_no_sae_has_a_value_of_is_named_with_its_status_and_has_no_line() -> None:
    silent = Estimate("shift.margin", None, {"n": 20}, status="not_applicable", reason="nobody")
    text = section(PLAN, report([row(silent, sae="a")], saes=SAES))
    assert "| `shift.margin" not in text
    assert "`shift.margin:n=20` (not applicable)" in text
    assert "`ravel` (-)" in text


def test_controls_of_the_first_sae_are_columns_where_a_plan_asks_for_them() -> None:
    control = Control("random_tied", "below", "higher", 0.25, se=0.02)
    estimate = Estimate("explained_variance", 0.9, se=0.01)
    verdict = judge(estimate, None, "no rule", controls=(control,))
    held = row_of(Measurement("a", estimate, controls=(control,)), verdict, None, "t.py")
    text = section(replace(PLAN, controls=("random_tied",)), report([held], saes=SAES))
    assert "| 0.9 ± 0.01 | - | 0.25 ± 0.02 |" in text


def test_a_plan_s_names_below_the_root_are_paths_and_others_are_left_as_they_are(
    tmp_path: Path,
) -> None:
    (tmp_path / "saes").mkdir()
    plan = tmp_path / "plan.toml"
    plan.write_text('[m]\ndata = "canonical"\ngood."here" = "saes"\nearly."hub" = "hf:o/r"\n')
    (found,) = planned(plan, tmp_path)
    assert found == Planned("m", {"here": str(tmp_path / "saes")}, "canonical", {"hub": "hf:o/r"})


def test_what_was_written_by_hand_stays_when_the_document_is_drawn_again() -> None:
    first = document(["## m"], "")
    assert first.rstrip().endswith(BY_HAND)
    assert handwritten(document(["## m"], "Read it so.")) == "Read it so."


def test_the_plans_that_are_shipped_can_be_read() -> None:
    folder = Path(__file__).resolve().parents[2] / "benchmarks"
    plans = list(folder.glob("reference_*.toml"))
    assert len(plans) == 2
    for path in plans:
        for plan in planned(path, folder):
            assert len(plan.saes) + len(plan.controls) > 2
