"""The shipped suite with a judge as a user runs it: stand-in, provider, recording, replay."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from pytest_sae import bundled_world
from pytest_sae.data.calibration import calibration_texts
from pytest_sae.judge.calibration.contexts import known
from pytest_sae.judge.calibration.questions import first
from pytest_sae.judge.calibration.rules import RULES
from pytest_sae.judge.recorded_answer import parse_line
from pytest_sae.judge.rules import RulesJudge
from pytest_sae.judge.rules.lexicon import load
from pytest_sae.reports.summary import judge_lines
from tests.judge.provider import KEY, Address, Asked, Reply, answering, provider, request_of
from tests.labelled import labelled_data
from tests.models.test_embedder import tiny_encoder
from tests.suite.running import ROOT, SAES, Run, command, environment, kill_when, suite
from tests.timeless import without_times
from tests.tiny import tiny_model, tiny_sae

MODEL = "openai/rules-behind-http"
JUDGED = ("-k", "shift or autointerp or judge", "--sae-suite=smoke")
CALIBRATION = ("-k", "judge_calibration", "--sae-suite=smoke")
METRICS = {
    "judge_calibration.explain", "judge_calibration.score", "judge_calibration.rate",
    "judge_calibration.injection", "shift", "shift.margin", "shift.worst_cell",
    "shift.worst_cell.recentred", "shift.worst_cell.refit", "shift.agreement", "shift.accepted",
    "shift.abstained", "autointerp.detection", "autointerp.fuzzing", "autointerp.surprisal",
    "autointerp.embedding", "autointerp.intervention", "autointerp.failed",
}  # fmt: skip
UNASKED = {"autointerp.surprisal", "autointerp.embedding"}
NO_NETWORK = ("unshare", "--map-root-user", "--net")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"--sae-cache={tmp_path_factory.mktemp('cache')}"


@pytest.fixture(scope="module")
def rules() -> RulesJudge:
    return RulesJudge(load(bundled_world() / "lexicon.json"))


# Without a flag: the stand-in


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("standin")


@pytest.fixture(scope="module")
def standin(directory: Path, cache: str) -> Run:
    """The bundled SAE with nobody named as judge."""
    return suite(directory, *JUDGED, cache)


def test_without_a_key_or_a_flag_the_bundled_sae_passes(standin: Run) -> None:
    assert standin.code == 0, standin.output
    assert standin.report["verdict"] == "pass"
    rows = {row["metric"]: row for row in standin.report["measurements"]}
    assert set(rows) == METRICS
    assert {name for name, row in rows.items() if row["value"] is None} == UNASKED
    calibrated = {row["verdict"] for name, row in rows.items() if name.startswith("judge_")}
    assert calibrated == {"pass"}


def test_every_report_says_that_a_stand_in_judged(standin: Run, directory: Path) -> None:
    (line,) = judge_lines(standin.report)
    assert line.startswith("judged by rules (bundled world only): word lists of the bundled texts ")
    assert line in standin.output.splitlines()
    reports = directory / "report"
    assert line in (reports / "report.md").read_text()
    assert line in unescape((reports / "report.html").read_text())
    judges = json.loads((reports / "report.json").read_text())["environment"]["judges"]
    assert judges == {"rules (bundled world only)": {"kind": "rules", "mode": "live"}}


def test_what_a_stand_in_cannot_say_is_skipped_with_what_to_name(standin: Run) -> None:
    rows = [standin.row("topk", name) for name in sorted(UNASKED)]
    assert [row["reason"] for row in rows] == [
        "not applicable: no embedding model: --sae-embedder=PATH",
        "not applicable: no scorer model: --sae-scorer=PATH",
    ]
    assert {row["outcome"] for row in rows} == {"skipped"}


# Over HTTP: the same judge behind a provider, recorded and replayed


@pytest.fixture(scope="module")
def served(rules: RulesJudge) -> Iterator[Address]:
    with provider(answering(rules)) as url:
        yield url


def asking(url: str, *flags: str) -> list[str]:
    return [f"--sae-judge={MODEL}", f"--sae-judge-api-base={url}", *flags]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recorded") / "answers" / "judge.jsonl"


@pytest.fixture(scope="module")
def recorded(recording: Path, served: Address, cache: str) -> Run:
    flags = ("--sae-judge-mode=record", f"--sae-judge-recordings={recording}")
    return suite(recording.parents[1], *JUDGED, cache, *asking(served, *flags))


def replaying(recording: Path, *flags: str) -> list[str]:
    mode = ["--sae-judge-mode=replay", f"--sae-judge-recordings={recording}"]
    return [f"--sae-judge={MODEL}", *mode, *flags]


def figures(run: Run, sae: str = "topk") -> dict[str, tuple[object, ...]]:
    """What was measured, without who judged and what asking cost."""
    return {
        row["metric"]: (row["value"], row["se"], row["ci"], row["n"], anonymous(row["details"]))
        for row in run.report["measurements"]
        if row["sae"] == sae
    }


def anonymous(details: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in details.items() if name not in ("judge", "kind", "spent")}


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
    assert run.report["complete"], run.output
    assert {row["worker"] for row in run.report["measurements"]} == {"gw0", "gw1"}
    wanted = {name: row for name, row in figures(recorded).items() if name.startswith("shift")}
    assert figures(run, "topk") == figures(run, "again") == wanted


def test_a_missing_answer_is_told_with_what_to_do_and_nothing_is_green(
    recorded: Run, recording: Path, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyless(monkeypatch)
    lines = recording.read_text().splitlines(keepends=True)
    gone = next(line for line in lines if line_question(line) in calibrating("rate"))
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
    assert run.report["verdict"] == "unmeasured"
    assert " passed" not in run.output.splitlines()[-1]


def line_question(line: str) -> str:
    return str(json.loads(line)["messages"][1]["content"])


def calibrating(*kinds: str) -> set[str]:
    """What a judge is asked before anything else, except what its own explanations lead to."""
    latents = known(calibration_texts(), RULES, seed=0)
    asked = [first(latent) for latent in latents]
    return {each[kind].messages[1].content for each in asked for kind in (kinds or each)}


# Judges that are not fit to judge


def constant(body: dict[str, Any]) -> Reply:
    """The same to every question, and nonsense to those for a rating."""
    request = request_of(body)
    if request.prompt == "detect/1":
        return Reply(json.dumps({"matches": dict.fromkeys(request.document["contexts"], 1)}))
    if request.prompt == "explain/1":
        return Reply('{"explanation":"words"}')
    return Reply("Конечно! Вот ответ: два.")


def question(asked: Asked) -> str:
    return str(asked.body["messages"][1]["content"])


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
    assert verdicts["shift.margin"] == verdicts["autointerp.failed"] == "unmeasured"
    assert rows["judge_calibration.score"]["value"] == 0.5
    assert rows["judge_calibration.rate"]["value"] == 0.0
    others = {question(asked) for asked in url.log} - calibrating()
    assert len(others) == len(RULES)
    assert {json.loads(each)["explanation"] for each in others} == {"words"}


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


def test_a_budget_is_shared_by_workers_and_never_exceeded(
    rules: RulesJudge, cache: str, tmp_path: Path
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


# Another model than the bundled one


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A user's own model, SAE, texts and bounds, as arguments."""
    directory = tmp_path_factory.mktemp("own")
    model = tiny_model(directory / "model")
    labelled_data(directory)
    sae = tiny_sae(directory / "sae", model=str(model))
    bounds = directory / "bounds.toml"
    bounds.write_text("version = 1\n[metrics.l0]\nmin = 5\nmax = 7\n")
    data = f"--sae-data={directory / 'tasks.toml'}"
    chosen = ("-k", "shift or autointerp or judge or l0", "--sae-suite=smoke", "--sae-cache=off")
    return [f"--sae={sae}", data, f"--sae-thresholds={bounds}", *chosen]


def test_without_a_judge_another_model_is_measured_and_the_judged_tests_are_skipped(
    own: list[str], tmp_path: Path
) -> None:
    run = suite(tmp_path, *own, "-rs")
    assert run.code == 0, run.output
    assert run.row("sae", "l0")["verdict"] == "pass"
    rows = {row["metric"]: row for row in run.report["measurements"] if row["metric"] != "l0"}
    assert set(rows) == METRICS
    told = {(row["outcome"], row["value"], row["reason"]) for row in rows.values()}
    reason = "no judge: name one with --sae-judge=MODEL (README, A judge)"
    assert told == {("skipped", None, f"not applicable: {reason}")}
    assert f"not applicable: {reason}" in run.said
    assert "judged by" not in run.output


def test_the_stand_in_is_refused_for_another_model(own: list[str], tmp_path: Path) -> None:
    run = suite(tmp_path, *own, "--sae-judge=rules")
    assert run.code == 1
    assert run.row("sae", "l0")["verdict"] == "pass"
    rows = [row for row in run.report["measurements"] if row["metric"] != "l0"]
    assert {(row["verdict"], row["value"]) for row in rows} == {("unmeasured", None)}
    assert "It knows the words of the bundled world and nothing else. Expected a" in run.said
    assert "judged by rules" not in run.output


# Scorers that are models


def test_a_scorer_and_an_embedder_make_their_figures(cache: str, tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path / "bert")
    models = (f"--sae-scorer={bundled_world() / 'model'}", f"--sae-embedder={encoder}")
    chosen = ("-k", "surprisal or embedding or failed", "--sae-suite=smoke")
    run = suite(tmp_path, *chosen, cache, *models)
    assert run.code == 0, run.output
    for name in UNASKED:
        row = run.row("topk", name)
        low, high = row["ci"]
        assert 0 <= low <= row["value"] <= high <= 1
        assert row["outcome"] == "passed"


# Killed while recording


def test_a_killed_recording_keeps_what_was_answered_and_asks_only_the_rest(
    rules: RulesJudge, cache: str, tmp_path: Path
) -> None:
    recording = tmp_path / "judge.jsonl"
    flags = ("--sae-judge-mode=record", f"--sae-judge-recordings={recording}")
    with provider(answering(rules)) as url:
        process = subprocess.Popen(
            command(tmp_path, *CALIBRATION, cache, *asking(url, *flags)),
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        kill_when(process, lambda: recording.exists() and recording.read_bytes().count(b"\n") > 20)
    answered = whole(recording)
    assert process.returncode < 0
    with provider(answering(rules)) as url:
        run = suite(tmp_path, *CALIBRATION, cache, *asking(url, *flags))
    assert run.code == 0, run.output
    asked = {question(each) for each in url.log}
    assert len(answered) > 20
    assert not asked & answered
    assert asked | answered == whole(recording)


def whole(recording: Path) -> set[str]:
    """The questions of a recording's lines, without one that was cut off."""
    lines = recording.read_text().splitlines(keepends=True)
    return {line_question(each) for each in lines if each.endswith("\n")}
