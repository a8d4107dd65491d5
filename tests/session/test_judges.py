"""Who judges in a process: the stand-in behind a provider, recorded, and replayed by nobody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_sae import bundled_world
from pytest_sae.judge.recorded_answer import parse_line
from pytest_sae.judge.rule_based import RuleBasedJudge
from pytest_sae.judge.rule_based.lexicon import load
from pytest_sae.measure.judge_calibration import calibrated
from pytest_sae.models.load import load as load_model
from pytest_sae.models.model import LanguageModel
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.options import Options
from pytest_sae.session.judges import Judges
from tests.judge.provider import KEY, answering, provider
from tests.sessions import options

MODEL = "openai/rules-behind-http"


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load_model(str(bundled_world() / "model"), device="cpu")


@pytest.fixture
def recorded(tmp_path: Path) -> Options:
    """Options that ask `MODEL` and keep its answers."""
    return options(
        judge=MODEL,
        judge_mode="record",
        judge_recordings=str(tmp_path / "judge.jsonl"),
    )


def figures(options: Options, model: LanguageModel) -> tuple[list[Estimate], Judges]:
    """How the judge of a model is calibrated, by judges of a process of one worker."""
    judges = Judges(options, 1)
    judge = judges.judge_of(model)
    assert judge is not None
    found = calibrated(judge, options.seed)
    judges.close()
    return found, judges


def values(found: list[Estimate]) -> list[tuple[str, float | None]]:
    return [(each.metric, each.value) for each in found]


def test_a_provider_is_asked_recorded_and_replayed_without_one(
    model: LanguageModel, recorded: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = RuleBasedJudge(load(bundled_world() / "lexicon.json"))
    with provider(answering(rules)) as url:
        asked, judges = figures(replace(recorded, judge_api_base=url), model)
    assert values(asked) == values(calibrated(rules, 0))
    assert judges.describe() == {MODEL: {"kind": "model", "mode": "record"}}
    spent = judges.spent()[MODEL]
    kept = Path(str(recorded.judge_recordings)).read_text()
    assert spent["requests"] == len(kept.splitlines()) == len(url.log)
    places = [(each.prompt, each.key) for each in map(parse_line, kept.splitlines())]
    assert places == sorted(places)
    assert KEY not in kept

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    replayed, judges = figures(replace(recorded, judge_mode="replay"), model)
    assert values(replayed) == values(asked)
    assert judges.describe() == {MODEL: {"kind": "model", "mode": "replay"}}
    assert judges.spent()[MODEL] == spent | {"replayed": spent["requests"]}
    assert Path(str(recorded.judge_recordings)).read_text() == kept


def test_where_nobody_is_named_the_bundled_model_has_its_rules(
    model: LanguageModel, recorded: Options
) -> None:
    judges = Judges(replace(recorded, judge=None, judge_mode="live"), 1)
    judge = judges.judge_of(model)
    assert judge is not None
    assert judges.judge_of(model) is judge
    assert judges.describe() == {judge.name: {"kind": "rules", "mode": "live"}}
