"""A task file with a corpus alone: what has no table is shown, and red where a rule insists."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_sae.families.registry import cards
from pytest_sae.gate.bounds import load_thresholds
from pytest_sae.gate.verdict import judge
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.run.run import shipped_thresholds
from tests.labelled import TASKS, labelled_data
from tests.sessions import loaded
from tests.tiny import tiny_model, tiny_sae

ON_TABLES = [card.name for card in cards() if card.on_tasks and card.name != "shift"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Estimate]]:
    """Everything that rests on tables of tasks, by family."""
    directory = tmp_path_factory.mktemp("corpus_alone")
    tiny_model(directory / "model")
    labelled_data(directory)
    tiny_sae(directory / "sae", model=str(directory / "model"))
    (directory / "mine.toml").write_text(TASKS[: TASKS.index("[datasets")])
    session, sae = loaded(directory / "sae", data=str(directory / "mine.toml"))
    return {name: [each.estimate for each in session.measure(name, sae)] for name in ON_TABLES}


@pytest.mark.parametrize("family", ON_TABLES)
def test_every_family_says_which_table_is_missing(
    found: dict[str, list[Estimate]], family: str
) -> None:
    for each in found[family]:
        assert each.status == "no_data", each.metric
        assert "[[" in each.reason or "[preferences]" in each.reason or "share" in each.reason


def test_the_shipped_gate_is_not_red_for_it_and_a_stricter_one_is(
    found: dict[str, list[Estimate]],
) -> None:
    shipped = load_thresholds(shipped_thresholds(), "evals/thresholds.toml")
    gating = 0
    for each in (each for estimates in found.values() for each in estimates):
        rule = shipped.rule_for(each.metric, each.params, "sae")
        assert judge(each, rule).name == "ungated", each.metric
        if rule is not None and rule.gate:
            gating += 1
            assert (
                judge(each, replace(rule, optional=False, beside_baseline=False)).name
                == "unmeasured"
            )
    assert gating >= 3
