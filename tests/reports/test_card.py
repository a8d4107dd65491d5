"""`pytest-sae card`: a model card gets a section and a model-index, and keeps all else it has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, metadata_load

from pytest_sae.cli import main
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.records.report import SAE, Report
from pytest_sae.records.schema import write_report
from pytest_sae.reports.card import BEGIN, END, TASK
from tests.reports.examples import report, row, rule

CARD = """---
license: mit
base_model: gpt2
tags:
- sae
x-own: [1, {a: b}]
model-index:
- name: my-saes
  results:
  - task: {type: text-generation, name: other}
    dataset: {type: pile, name: The Pile}
    metrics:
    - {type: perplexity, value: 31.5}
---
# My SAEs

Some words, *mine*.
"""


def measured(value: float = 0.912345, saes: tuple[str, ...] = ("topk",)) -> Report:
    rows = [
        each
        for sae in saes
        for each in (
            replace(
                row(Estimate("explained_variance", value, se=0.01, ci=(0.89, 0.93)),
                    rule("explained_variance", min=0.7), sae),
                fingerprints={"data": "d" * 64, "suite": "smoke/seed=0"},
            ),
            row(Estimate("mse", 3.0), None, sae),
        )
    ]  # fmt: skip
    named = tuple(SAE(each, f"saes/{each}", f"saes/{each}") for each in saes)
    return report(rows, saes=named, data={"source": "/home/me/secret/tasks.toml"})


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_report(measured(), Path("sae-report"))
    path = Path("README.md")
    path.write_text(CARD)
    return path


def write(card: Path) -> int:
    return main(["card", "sae-report", f"--model-card={card}"])


def results(card: Path) -> list[tuple[str | None, str, float]]:
    found = ModelCard.load(card).data.eval_results or []
    return [(each.task_name, each.metric_type, each.metric_value) for each in found]


def test_the_hub_reads_the_values_that_decide_beside_those_of_others(card: Path) -> None:
    assert write(card) == 0
    assert results(card) == [
        ("other", "perplexity", 31.5),
        (TASK, "explained_variance", 0.912345),
    ]
    (own,) = metadata_load(card)["model-index"][0]["results"][1:]
    assert own["dataset"] == {
        "name": "tasks.toml", "type": "tasks.toml", "config": "smoke/seed=0", "revision": "d" * 64,
    }  # fmt: skip
    assert own["metrics"][0]["args"] == {
        "standard_error": 0.01, "interval": [0.89, 0.93], "verdict": "pass",
    }  # fmt: skip
    assert "secret" not in card.read_text()


def test_all_else_stays(card: Path) -> None:
    write(card)
    before = ModelCard(CARD).data.to_dict()
    after = ModelCard.load(card).data.to_dict()
    assert {**after, "model-index": 0} == {**before, "model-index": 0}
    assert list(after) == list(before)
    assert after["model-index"][0]["name"] == "my-saes"
    text = ModelCard.load(card).text
    assert text.startswith("# My SAEs\n\nSome words, *mine*.\n")
    assert "SAE gate: pass" in text


def test_a_second_time_changes_nothing_and_another_report_only_what_is_its_own(card: Path) -> None:
    write(card)
    first = card.read_bytes()
    write(card)
    assert card.read_bytes() == first
    card.write_text(card.read_text() + "\nAfterword.\n")
    write_report(measured(0.8), Path("sae-report"))
    write(card)
    text = card.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.endswith(f"{END}\n\nAfterword.\n")
    assert results(card)[1:] == [(TASK, "explained_variance", 0.8)]
    assert "0.9123" not in text


def test_line_ends_of_the_card_are_kept(card: Path) -> None:
    card.write_bytes(CARD.replace("\n", "\r\n").encode())
    write(card)
    first = card.read_bytes()
    assert first.count(b"\n") == first.count(b"\r\n")
    write(card)
    assert card.read_bytes() == first


@pytest.mark.parametrize("text", [None, "# Only words\n", "", "---\n---\nwords\n"])
def test_a_card_without_metadata_or_none_at_all_gets_both(card: Path, text: str | None) -> None:
    card.unlink()
    if text is not None:
        card.write_text(text)
    assert write(card) == 0
    assert results(card) == [(TASK, "explained_variance", 0.912345)]
    assert metadata_load(card)["model-index"][0]["name"] == "topk"
    for word in (text or "").replace("-", "").split():
        assert word in card.read_text()
    first = card.read_bytes()
    write(card)
    assert card.read_bytes() == first


def test_values_of_several_saes_are_told_apart(card: Path) -> None:
    write_report(measured(saes=("one", "two")), Path("sae-report"))
    write(card)
    found = ModelCard.load(card).data.eval_results[1:]
    assert [each.metric_name for each in found] == [
        "explained_variance of one", "explained_variance of two",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{CARD}\n{BEGIN}\n", f"has 1 lines {BEGIN} and 0 lines {END}"),
        (f"{CARD}\n{END} {BEGIN}\n", "Expected one of each, or none"),
        ("---\na: [\n---\n", "cannot be read"),
        ("---\n- a\n---\n", "cannot be read"),
        (CARD.replace("my-saes", "x").replace("---\n#", "- {name: y, results: []}\n---\n#"),
         "has results of 2 models"),
    ],
)  # fmt: skip
def test_a_card_that_would_lose_something_is_left_alone(
    card: Path, text: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    card.write_text(text)
    assert write(card) == 2
    assert says in capsys.readouterr().err
    assert card.read_text() == text
