"""Recordings: what was asked once is known for ever, and what was edited is refused."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_sae.errors import JudgeError
from pytest_sae.judge.recorded_answer import ChatRecord, chat_record, line, parse_line
from pytest_sae.judge.recordings import Recordings, RecordingsWarning
from pytest_sae.judge.request import digest
from pytest_sae.judge.settings import Budget
from tests.judge.asking import doubling, number_of, recording, replaying, request, right
from tests.judge.provider import KEY, Reply, in_turn, provider

ASKED = [request(number, "text") for number in range(8)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers" / "judge.jsonl"


def wavering(body):
    """Right for even numbers, repaired for 1 and 5, never right for 3 and 7."""
    number = number_of(body)
    if number % 2 == 0 or (number % 4 == 1 and len(body["messages"]) > 2):
        return replace(doubling(body), usage=(40 + number, 8))
    return Reply("I would rather not say.", usage=(40, 6))


def recorded(path: Path, reply=wavering, **settings):
    """Record the answers to ASKED and return them with what they cost."""
    with provider(reply) as url:
        judge = recording(url, path, **settings)
        answers = judge.ask(ASKED)
        judge.close()
    return answers, judge.spent


def test_a_replay_with_the_provider_gone_is_identical(path: Path) -> None:
    answers, spent = recorded(path)
    judge = replaying(path)
    assert judge.ask(ASKED) == answers
    assert judge.spent == replace(spent, replayed=spent.requests)
    assert (spent.requests, spent.repaired, spent.abstained) == (12, 4, 2)


def test_the_order_of_asking_changes_no_byte_of_the_file(path: Path, tmp_path: Path) -> None:
    recorded(path, concurrency=1)
    other = tmp_path / "other.jsonl"
    with provider(wavering) as url:
        judge = recording(url, other, concurrency=5)
        for each in reversed(ASKED):
            judge.ask([each])
        judge.close()
    assert path.read_bytes() == other.read_bytes()


def test_what_is_recorded_is_not_asked_again(path: Path) -> None:
    answers, spent = recorded(path)
    with provider(wavering) as url:
        judge = recording(url, path)
        assert judge.ask([*ASKED, request(99)])[: len(ASKED)] == answers
    assert [number_of(asked.body) for asked in url.log] == [99, 99]
    assert judge.spent.replayed == spent.requests


def test_a_run_that_stops_in_the_middle_keeps_what_it_paid_for(path: Path) -> None:
    with provider(doubling) as url, pytest.raises(JudgeError, match="budget"):
        recording(url, path, budget=Budget(1100), concurrency=1).ask(ASKED)
    kept = len(path.read_text().splitlines())
    assert kept == len(url.log) > 1
    assert len(replaying(path).ask(ASKED[:kept])) == kept


def test_the_schema_told_in_words_makes_the_same_keys(path: Path, tmp_path: Path) -> None:
    def strict(body):
        return Reply("no schema", status=400) if "response_format" in body else wavering(body)

    recorded(path)
    other = tmp_path / "other.jsonl"
    recorded(other, strict)
    rows, others = ([json.loads(row) for row in each.open()] for each in (path, other))
    assert [row["key"] for row in rows] == [row["key"] for row in others]
    assert {row["structured"] for row in rows} == {True}
    assert {row["structured"] for row in others} == {False}
    assert replaying(path).ask(ASKED) == replaying(other).ask(ASKED)


def test_a_replay_charges_nothing(path: Path) -> None:
    recorded(path)
    judge = replaying(path, budget=Budget(1, 0.01))
    assert len(judge.ask(ASKED)) == len(ASKED)
    assert judge.exchange.purse.spent.tokens == 0


def test_an_answer_that_is_not_recorded_names_what_is_missing(path: Path) -> None:
    recorded(path)
    with pytest.raises(JudgeError, match="has no answer of openai/judge") as raised:
        replaying(path).ask([request(77)])
    assert "double/1" in str(raised.value)
    assert "--sae-judge-mode=record" in str(raised.value)


def test_an_answer_of_another_model_is_not_taken(path: Path) -> None:
    recorded(path)
    with pytest.raises(JudgeError, match="openai/other"):
        replaying(path, model="openai/other").ask(ASKED)


def test_a_missing_file_says_how_it_is_made(path: Path) -> None:
    with pytest.raises(JudgeError, match="run once with --sae-judge-mode=record"):
        replaying(path)


# Files that were changed


def edit(path: Path, row: int, change) -> None:
    rows = path.read_text().splitlines()
    rows[row] = change(rows[row])
    path.write_text("".join(each + "\n" for each in rows))


EDITS = {
    "answer": lambda text: text.replace('\\"double\\":', '\\"double\\": 1'),
    "question": lambda text: text.replace("Double the number", "Halve the number"),
    "model": lambda text: text.replace("openai/judge", "openai/better"),
    "usage": lambda text: text.replace('"input_tokens":4', '"input_tokens":9'),
    "spaces": lambda text: text.replace(":", ": ", 1),
    "key twice": lambda text: text.replace("{", '{"version":1,', 1),
    "a field too many": lambda text: text.replace("{", '{"note":"mine",', 1),
    "another version": lambda text: text.replace('"version":1', '"version":2'),
    "no JSON": lambda text: text[:-5],
    "empty": lambda text: "",
    "a list": lambda text: "[1]",
}


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS.keys())
@pytest.mark.parametrize("open_", [replaying, lambda path: recording(None, path)])
def test_an_edited_line_is_refused_by_its_place(path: Path, change, open_) -> None:
    recorded(path)
    row = next(n for n, text in enumerate(path.read_text().splitlines()) if "double\\" in text)
    edit(path, row, change)
    with pytest.raises(JudgeError, match=rf"judge.jsonl:{row + 1}: .*restore the file"):
        open_(path)


def record(number: int, answer: str) -> ChatRecord:
    """The record of any answer."""
    said = {"answer": f"{number} {answer}", "finish_reason": "stop", "usage": None, "cost": 0.5}
    sent = {"retries": 0, "structured": True, "tempered": True}
    return chat_record(request(number), "m", **said, **sent)


@given(cut=st.integers(0, 200), data=st.data())
def test_a_damaged_line_is_never_taken_for_another_answer(cut: int, data) -> None:
    text = line(record(1, right(1)))
    assert line(parse_line(text)) == text
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.text(max_size=3)) + text[at + cut :]
    if changed != text:
        with pytest.raises(ValueError):
            parse_line(changed)


def test_a_request_changed_together_with_its_checksum_is_refused_by_its_key() -> None:
    content = json.loads(line(record(1, right(1))))
    del content["checksum"]
    content["max_tokens"] += 1
    content["checksum"] = digest(content)
    with pytest.raises(ValueError, match="key is not that of its request"):
        parse_line(json.dumps(content, sort_keys=True, separators=(",", ":")))


def test_a_last_line_cut_off_is_refused_in_replay_and_asked_again_in_record(path: Path) -> None:
    answers, _ = recorded(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(JudgeError, match="the last line is cut off"):
        replaying(path)
    with provider(wavering) as url:
        with pytest.warns(RecordingsWarning, match="was cut off"):
            judge = recording(url, path)
        assert judge.ask(ASKED) == answers
        judge.close()
    assert len(url.log) == 1
    assert path.read_bytes() == whole


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JudgeError, match="cannot be recorded in"):
        recording(None, tmp_path / "file" / "judge.jsonl")


# Secrets


def test_neither_key_nor_address_is_recorded(path: Path) -> None:
    recorded(path)
    content = path.read_text()
    assert KEY not in content
    assert "127.0.0.1" not in content
    assert "uthorization" not in content


@pytest.mark.parametrize("name", ["HF_TOKEN", "MY_API_KEY", "client_secret"])
@pytest.mark.parametrize("where", ["answer", "question"])
def test_a_secret_of_the_environment_is_refused(path, monkeypatch, name, where) -> None:
    monkeypatch.setenv(name, 'hush"hush')
    said = json.dumps({"reason": 'hush"hush' if where == "answer" else "", "double": 2})
    asked = request(1, 'so hush"hush' if where == "question" else "")
    with (
        provider(in_turn(Reply(said))) as url,
        pytest.raises(JudgeError, match=name) as raised,
    ):
        recording(url, path).ask([asked])
    assert "hush" not in str(raised.value)
    assert not path.exists()


def test_a_short_value_is_no_secret(path, monkeypatch) -> None:
    monkeypatch.setenv("SHORT_KEY", "double")
    recorded(path)
    assert path.exists()


# Several processes

CHILD = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from pytest_sae.judge.recordings import Recordings
    from tests.judge.test_recordings import record

    path, name, *numbers = sys.argv[1:]
    recordings = Recordings(Path(path), "record")
    for number in numbers:
        print(recordings.add(record(int(number), name)).answer)
    recordings.close()
    """
)


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_two_processes_record_into_one_file_and_agree_on_every_answer(path: Path) -> None:
    spans = {"first": range(60), "second": range(30, 90)}
    runs = [python(CHILD, str(path), name, *map(str, span)) for name, span in spans.items()]
    outputs = [run.communicate(timeout=60)[0].splitlines() for run in runs]
    rows = [json.loads(row) for row in path.read_text().splitlines()]
    kept = {row["answer"].split()[0]: row["answer"] for row in rows}
    assert len(rows) == len(kept) == 90
    assert rows == sorted(rows, key=lambda row: row["key"])
    for span, output in zip(spans.values(), outputs, strict=True):
        assert output == [kept[str(number)] for number in span]


def test_a_second_process_takes_the_answer_that_the_first_one_kept(path: Path) -> None:
    with provider(in_turn(Reply(right(1)), Reply('{"reason":"late","double":2}'))) as url:
        first, second = recording(url, path), recording(url, path)
        answers = [first.ask([request(1)]), second.ask([request(1)])]
        first.close()
    assert answers[0] == answers[1] == replaying(path).ask([request(1)])


def test_closing_keeps_what_others_added_since_and_no_answer_twice(path: Path) -> None:
    first, second = Recordings(path, "record"), Recordings(path, "record")
    first.add(record(1, "first"))
    second.add(record(2, "second"))
    assert second.add(record(1, "late")).answer == "1 first"
    assert len(path.read_text().splitlines()) == 2
    first.close()
    assert {each.answer for each in Recordings(path, "replay").all()} == {"1 first", "2 second"}


REPLAY = textwrap.dedent(
    """
    import socket, sys
    from pathlib import Path

    def refuse(*args, **kwargs):
        raise AssertionError("a socket was opened")

    socket.socket.connect = refuse
    socket.getaddrinfo = refuse
    from tests.judge.asking import replaying, request

    judge = replaying(Path(sys.argv[1]))
    assert len(judge.ask([request(number, "text") for number in range(8)])) == 8
    print(sorted({"litellm", "openai", "torch", "transformers"} & set(sys.modules)))
    """
)


def test_a_replay_imports_no_client_and_opens_no_socket(path: Path) -> None:
    recorded(path)
    output, errors = python(REPLAY, str(path)).communicate(timeout=60)
    assert output.strip() == "[]", errors


def test_importing_the_judge_imports_nothing_heavy() -> None:
    code = (
        "import sys, pytest_sae.judge.client, pytest_sae.judge.embed\n"
        "print(sorted({'litellm', 'openai', 'torch', 'jsonschema', 'numpy'} & set(sys.modules)))"
    )
    output, errors = python(code).communicate(timeout=60)
    assert output.strip() == "[]", errors


# A full disk


def test_an_answer_for_which_there_is_no_room_is_refused_and_leaves_no_half_line(
    path: Path,
) -> None:
    with provider(doubling) as url:
        asking = recording(url, path)
        asking.ask([request(1)])
        before = path.read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 200, limits[1]))
        try:
            with pytest.raises(JudgeError, match=r"answers cannot be recorded in .*too large"):
                asking.ask([request(2)])
            asking.close()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert path.read_bytes() == before
        assert len(recording(url, path).ask([request(1), request(2)])) == 2
    assert len(replaying(path).ask([request(1), request(2)])) == 2
