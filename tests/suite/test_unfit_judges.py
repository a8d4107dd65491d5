"""The shipped suite with judges that fail, refuse or cost too much, and killed while it asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_sae.judge.calibration.latent_rules import RULES
from pytest_sae.judge.rule_based import RuleBasedJudge
from tests.judge.provider import KEY, Reply, answering, provider, request_of
from tests.suite.judged import (
    CALIBRATION,
    JUDGED,
    METRICS,
    asking,
    calibrating,
    line_question,
    question,
)
from tests.suite.running import arguments_of, kill_when, started, suite


def constant(body: dict[str, Any]) -> Reply:
    """The same to every question, and nonsense to those for a rating."""
    request = request_of(body)
    if request.prompt == "detect/1":
        return Reply(json.dumps({"matches": dict.fromkeys(request.document["contexts"], 1)}))
    if request.prompt == "explain/1":
        return Reply('{"explanation":"words"}')
    return Reply("Конечно! Вот ответ: два.")


def test_a_judge_that_fails_its_calibration_is_asked_nothing_more_and_nothing_is_measured(
    cache: str, tmp_path: Path
) -> None:
    with provider(constant) as url:
        run = suite(tmp_path, *JUDGED, cache, *asking(url))
    assert run.code == 1
    rows = {row["metric"]: row for row in run.report["measurements"]}
    assert set(rows) == METRICS
    why = "the judge failed its calibration: judge_calibration.explain 0.5000 < min 0.8000 [topk]"
    withheld = {name: row for name, row in rows.items() if not name.startswith("judge_")}
    for row in withheld.values():
        assert row["value"] is None
        assert row["reason"].removeprefix("undefined: ") == why
    verdicts = {name: row["verdict"] for name, row in withheld.items()}
    # A metric that thresholds.toml declares to decide nothing is not red, but has no value either.
    assert set(verdicts.values()) <= {"unmeasured", "ungated"}
    assert verdicts["shift.abstained"] == verdicts["autointerp.failed"] == "unmeasured"
    assert rows["judge_calibration.score"]["value"] == 0.5
    assert rows["judge_calibration.rate"]["value"] == 0.0
    others = {question(asked) for asked in url.log} - calibrating()
    assert len(others) == len(RULES)
    assert {json.loads(each)["explanation"] for each in others} == {"words"}


@pytest.mark.whole
def test_a_refusal_is_told_once_with_what_to_do(cache: str, tmp_path: Path) -> None:
    with provider(lambda body: Reply(f"Incorrect API key: {KEY}", status=401)) as url:
        run = suite(tmp_path, *JUDGED, cache, *asking(url))
    assert run.code == 1
    assert 1 <= len(url.log) <= 8, "as many as are asked at a time, of more than 200"
    reasons = {row["reason"] for row in run.report["measurements"]}
    assert len(reasons) == 1
    assert "Incorrect API key" in run.output
    assert "check the environment variable that litellm reads for openai" in run.said
    assert KEY not in run.output
    assert {row["verdict"] for row in run.report["measurements"]} == {"unmeasured"}


@pytest.mark.whole
def test_a_budget_is_shared_by_workers_and_never_exceeded(
    rules: RuleBasedJudge, cache: str, tmp_path: Path
) -> None:
    billed: list[int] = []

    def reply(body: dict[str, Any]) -> Reply:
        usage = (len(json.dumps(body["messages"])) // 4, 60)
        billed.append(sum(usage))
        return Reply(answering(rules)(body).content, usage=usage)

    with provider(reply) as url:
        flags = asking(url, "--sae-judge-budget=30k", "-n", "2")
        run = suite(tmp_path, *CALIBRATION, cache, *flags)
    assert run.code == 1
    assert 0 < sum(billed) <= 15_000, "two workers, of which one has nothing to ask"
    assert "judge budget of 15000 tokens for each of 2 workers: " in run.said
    assert "Raise --sae-judge-budget or ask for less" in run.said
    assert {row["verdict"] for row in run.report["measurements"]} == {"unmeasured"}


@pytest.mark.whole
def test_a_killed_recording_keeps_what_was_answered_and_asks_only_the_rest(
    rules: RuleBasedJudge, cache: str, tmp_path: Path
) -> None:
    recording = tmp_path / "judge.jsonl"
    flags = ("--sae-judge-mode=record", f"--sae-judge-recordings={recording}")
    with provider(answering(rules)) as url:
        arguments = arguments_of(tmp_path, *CALIBRATION, cache, *asking(url, *flags))
        run = started(arguments, tmp_path / "killed.txt")
        kill_when(run, lambda: recording.exists() and recording.read_bytes().count(b"\n") > 20)
    answered = whole(recording)
    assert run.exitcode is not None
    assert run.exitcode < 0
    with provider(answering(rules)) as url:
        again = suite(tmp_path, *CALIBRATION, cache, *asking(url, *flags))
    assert again.code == 0, again.output
    asked = {question(each) for each in url.log}
    assert len(answered) > 20
    assert not asked & answered
    assert asked | answered == whole(recording)


def whole(recording: Path) -> set[str]:
    """The questions of a recording's lines, without one that was cut off."""
    lines = recording.read_text().splitlines(keepends=True)
    return {line_question(each) for each in lines if each.endswith("\n")}
