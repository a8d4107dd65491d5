"""A judge is waited for so long and no longer, whatever its server does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from pytest_sae.errors import JudgeError, OptionError
from pytest_sae.judge.client import ModelJudge
from pytest_sae.judge.exchange import Exchange
from pytest_sae.judge.retry import Patience
from pytest_sae.judge.settings import JudgeSettings, TimeLimits, parse_time_limits
from pytest_sae.judge.time_limit import Waiting, told
from tests.judge.asking import MODEL, doubling, number_of, request
from tests.judge.provider import KEY, Reply, provider


@contextmanager
def accepting(drop: bytes = b"") -> Iterator[str]:
    """Serve connections that are never answered, or a byte now and then."""
    server = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def trickle(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(drop)
                time.sleep(0.05)
        except OSError:
            return

    def accept() -> None:
        try:
            while True:
                held.append(server.accept()[0])
                if drop:
                    threading.Thread(target=trickle, args=(held[-1],), daemon=True).start()
        except OSError:
            return

    threading.Thread(target=accept, daemon=True).start()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NO_PROXY", "127.0.0.1,localhost")
        environment.setenv("OPENAI_API_KEY", KEY)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
    server.close()
    for connection in held:
        connection.close()


def judge(url: str, limits: TimeLimits, timeout: float = 0.2, attempts: int = 99) -> ModelJudge:
    settings = JudgeSettings(MODEL, url, timeout=timeout, limits=limits)
    patience = Patience(attempts=attempts, base=0.01, longest=0.01)
    return ModelJudge(Exchange(settings, patience, Random(0)))


# A server that has the whole head out but never ends a body holds a client's own timeout for ever.
HEAD = b"HTTP/1.1 200 OK\r\nX: y\r\n"


@pytest.mark.parametrize("drop", [b"", HEAD, b"x"])
def test_a_judge_that_accepts_and_never_answers_is_given_up(drop: bytes) -> None:
    with accepting(drop) as url:
        asked = judge(url, TimeLimits(question=1.5))
        began = time.monotonic()
        with pytest.raises(JudgeError, match=r"no answer in 1\.5 s .*--sae-judge-timeout"):
            asked.ask([request(number) for number in range(9)])
        assert time.monotonic() - began < 20
        began = time.monotonic()
        with pytest.raises(JudgeError, match="no answer in"):
            asked.ask([request(20)])
        assert time.monotonic() - began < 0.2


def test_all_questions_of_a_run_have_a_limit_together() -> None:
    with provider(doubling) as url:
        asked = judge(url, TimeLimits(run=1e-6), timeout=30)
        with pytest.raises(JudgeError, match=r"the most that it may take .*--sae-judge-timeout"):
            asked.ask([request(1)])
    assert not url.log


def test_a_judge_that_has_answered_is_asked_again_after_a_silence() -> None:
    slow = {"wait": 5.0}

    def reply(body: dict[str, Any]) -> Reply:
        return replace(doubling(body), delay=slow["wait"] if number_of(body) == 2 else 0.0)

    with provider(reply) as url:
        judge(url, TimeLimits(), timeout=60).ask([request(0)])  # litellm is imported for it
        asked = judge(url, TimeLimits(question=2.0), timeout=1.0)
        assert asked.ask([request(1)])[0].value
        with pytest.raises(JudgeError, match="no answer in"):
            asked.ask([request(2)])
        slow["wait"] = 0.0
        assert asked.ask([request(2)])[0].value


def test_questions_that_are_under_way_together_take_the_time_of_the_run_once() -> None:
    now = [0.0]
    waiting = Waiting(TimeLimits(question=100, run=50), lambda: now[0])
    with waiting.question() as first:
        now[0] = 10
        with waiting.question() as second:
            now[0] = 20
            assert (first(), second()) == (30, 30)
    now[0] = 1000  # nobody was asked meanwhile
    with waiting.question() as third:
        now[0] = 1029
        assert third() == 1
        now[0] = 1030
        with pytest.raises(JudgeError, match="judging took 50 s"):
            third()


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("90", TimeLimits(question=90)),
        ("1.5s", TimeLimits(question=1.5)),
        ("10m,4h", TimeLimits(600, 14_400)),
        ("2H, 1h", TimeLimits(7200, 3600)),
        (None, TimeLimits()),
    ],
)
def test_limits_are_read(text: str | None, limits: TimeLimits) -> None:
    assert parse_time_limits(text) == limits


@pytest.mark.parametrize("text", ["", "0", "1d", "10m,", "1,2,3", "-1", "inf", "nan"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"--sae-judge-timeout=.*such as 90s, 10m or 10m,4h"):
        parse_time_limits(text)


@pytest.mark.parametrize(("seconds", "text"), [(90, "90 s"), (600, "10 min"), (14_400, "4 h")])
def test_times_are_told_for_people(seconds: float, text: str) -> None:
    assert told(seconds) == text
