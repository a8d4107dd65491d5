"""The stand-in behind a provider: the same figures, recorded and replayed without a network."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_sae.judge.recorded_answer import parse_line
from pytest_sae.judge.rule_based import RuleBasedJudge
from tests.judge.provider import KEY, Address, answering, provider
from tests.suite.judged import JUDGED, MODEL, asking, calibrating, figures, line_question, replaying
from tests.suite.running import SAES, Run, suite
from tests.timeless import without_times

pytestmark = pytest.mark.whole
NO_NETWORK = ("unshare", "--map-root-user", "--net")


@pytest.fixture(scope="module")
def served(rules: RuleBasedJudge) -> Iterator[Address]:
    with provider(answering(rules)) as url:
        yield url


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recorded") / "answers" / "judge.jsonl"


@pytest.fixture(scope="module")
def recorded(recording: Path, served: Address, cache: str) -> Run:
    flags = ("--sae-judge-mode=record", f"--sae-judge-recordings={recording}")
    return suite(recording.parents[1], *JUDGED, cache, *asking(served, *flags))


def test_over_http_every_figure_is_the_same_to_the_bit(standin: Run, recorded: Run) -> None:
    assert recorded.code == standin.code, recorded.output
    assert figures(recorded) == figures(standin)


def test_a_report_names_the_model_and_what_asking_it_cost(
    recorded: Run, served: Address, recording: Path
) -> None:
    assert f"judged by {MODEL}, answers recorded" in recorded.output.splitlines()
    (spent,) = recorded.report["work"]["main"]["judges"].values()
    assert spent["requests"] == len(recording.read_text().splitlines())
    assert spent["input_tokens"] > 50 * spent["requests"]
    assert (spent["abstained"], spent["replayed"]) == (0, 0)
    assert spent["cost"] is None, "nobody knows the price of this model"


def test_a_recording_holds_neither_key_nor_address(recorded: Run, recording: Path) -> None:
    text = recording.read_text()
    assert KEY not in text
    assert "127.0.0.1" not in text
    lines = text.splitlines()
    assert [parse_line(line).model for line in lines] == [MODEL] * len(lines)
    keys = [(parse_line(line).prompt, parse_line(line).key) for line in lines]
    assert keys == sorted(keys)


def test_neither_key_nor_answers_of_others_are_in_the_reports(
    recorded: Run, recording: Path
) -> None:
    reports = recording.parents[1] / "report"
    assert not [path for path in reports.iterdir() if KEY in path.read_text(errors="replace")]
    assert KEY not in recorded.output


def keyless(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)


def offline() -> Sequence[str]:
    """What runs a command without any network, empty where the system has no such thing."""
    there = shutil.which("unshare") is not None
    works = there and subprocess.run([*NO_NETWORK, "true"], check=False).returncode == 0
    return NO_NETWORK if works else ()


# Nothing listens at port 9 of this machine: where there is a network, asking would be an error.
NOWHERE = "--sae-judge-api-base=http://127.0.0.1:9/v1"


@pytest.fixture
def replayed(
    recorded: Run, recording: Path, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    keyless(monkeypatch)
    return suite(tmp_path, *JUDGED, cache, *replaying(recording, NOWHERE), before=offline())


def test_a_replay_without_key_and_network_is_identical_to_the_bit(
    recorded: Run, replayed: Run, recording: Path
) -> None:
    before = recording.read_bytes()
    assert replayed.code == recorded.code, replayed.output
    environments = [run.report["environment"] for run in (recorded, replayed)]
    modes = [each["judges"][MODEL]["mode"] for each in environments]
    assert modes == ["record", "replay"]
    assert unmoded(replayed.report) == unmoded(recorded.report)
    assert recording.read_bytes() == before
    (spent,) = replayed.report["work"]["main"]["judges"].values()
    assert spent["replayed"] == spent["requests"]
    assert f"judged by {MODEL}, answers replayed from recordings" in replayed.output


def unmoded(report: dict[str, Any]) -> dict[str, Any]:
    """A report without times, and without what tells a recording from a replay."""
    kept = {key: value for key, value in without_times(report).items() if key != "options"}
    return {**kept, "environment": {**kept["environment"], "judges": None}}


def test_two_workers_replay_two_saes_from_one_recording(
    recorded: Run, recording: Path, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyless(monkeypatch)
    again = shutil.copytree(SAES / "topk", tmp_path / "again")
    saes = (f"--sae={SAES / 'topk'}", f"--sae={again}")
    chosen = ("-k", "shift", "--sae-suite=smoke")
    run = suite(tmp_path, *chosen, *saes, cache, "-n", "2", *replaying(recording, NOWHERE))
    assert run.report["verdict"] == "partial", run.output
    assert {row["worker"] for row in run.report["measurements"]} == {"gw0", "gw1"}
    wanted = {name: row for name, row in figures(recorded).items() if name.startswith("shift")}
    assert figures(run, "topk") == figures(run, "again") == wanted


def test_a_missing_answer_is_told_with_what_to_do_and_nothing_is_green(
    recorded: Run, recording: Path, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyless(monkeypatch)
    lines = recording.read_text().splitlines(keepends=True)
    ratings = calibrating("rate")
    gone = next(line for line in lines if line_question(line) in ratings)
    short = tmp_path / "short.jsonl"
    short.write_text("".join(line for line in lines if line != gone))
    run = suite(tmp_path, *JUDGED, cache, *replaying(short))
    assert run.code == 1
    missing = parse_line(gone.rstrip())
    assert (
        f"{short} has no answer of {MODEL} to this request of rate/1 ({missing.key[:12]}): run "
        "once with --sae-judge-mode=record"
    ) in run.said
    assert all(row["verdict"] == "unmeasured" for row in run.report["measurements"])
    assert run.report["verdict"] == "incomplete"
    assert " passed" not in run.output.splitlines()[-1]
