"""A provider on the loopback interface that speaks OpenAI's protocol as a test tells it to.

    with provider(lambda body: Reply('{"ratings":{}}')) as url:
        ModelJudge(Exchange(JudgeSettings("openai/judge", url))).ask(requests)
    assert len(url.log) == 1

A reply depends on the body of its request alone, so that order and concurrency cannot matter;
a test that wants "first this, then that" says so with `in_turn`.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from pytest_sae.judge.base import Judge
from pytest_sae.judge.form import Form
from pytest_sae.judge.request import Message, Request
from tests.loopback import LoopbackServer

KEY = "sk-loopback-0123456789"


@dataclass(frozen=True)
class Reply:
    """What the provider says to one request.

    Args:
        content: of the assistant's message.
        status: of HTTP; other than 200 `content` is the error's message.
        finish_reason: why the answer ends.
        headers: more of them.
        delay: seconds before it is sent.
        usage: input and output tokens, None to say nothing; by default a quarter of the bytes.
        fields: replaces fields of the reply, such as {"choices": []}.
        raw: the body as it is, instead of all of that.
        drop: close the connection instead.
    """

    content: str | None = None
    status: int = 200
    finish_reason: str = "stop"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    usage: tuple[int, int] | None = (-1, -1)
    fields: Mapping[str, Any] = field(default_factory=dict)
    raw: bytes | None = None
    drop: bool = False


Replying = Callable[[dict[str, Any]], Reply]


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Address(str):
    """The provider's URL, with what was asked there."""

    log: list[Asked]


@contextmanager
def provider(reply: Replying) -> Iterator[Address]:
    """Serve replies as long as the context lasts; the environment leads there and has a key."""
    log: list[Asked] = []
    server = LoopbackServer(_handler(reply, log))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    url = Address(f"http://127.0.0.1:{server.server_port}/v1")
    url.log = log
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("NO_PROXY", "127.0.0.1,localhost")
            environment.setenv("OPENAI_API_KEY", KEY)
            environment.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def in_turn(*replies: Reply) -> Replying:
    """Give the replies one after the other, the last one for ever."""
    lock, left = threading.Lock(), list(replies)

    def reply(body: dict[str, Any]) -> Reply:
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return reply


def answering(judge: Judge) -> Replying:
    """Let any judge answer, so that it can be reached through the whole client."""

    def reply(body: dict[str, Any]) -> Reply:
        (answer,) = judge.ask([request_of(body)])
        return Reply("I cannot say." if answer.value is None else json.dumps(dict(answer.value)))

    return reply


def request_of(body: Mapping[str, Any]) -> Request:
    """Return the request that a body was made from, also where the schema is told in words."""
    turns = [Message(turn["role"], turn["content"]) for turn in body["messages"]]
    form = body.get("response_format", {}).get("json_schema")
    if form is None:
        content, _, told = turns[-1].content.rpartition("\n\n")
        head, _, schema = told.partition(", by this JSON Schema: ")
        turns[-1] = Message(turns[-1].role, content)
        form = {"name": head.rsplit(" ", 1)[-1], "schema": json.loads(schema)}
    name, _, version = form["name"].rpartition("_")
    return Request(f"{name}/{version}", tuple(turns), Form(form["schema"], Any), body["max_tokens"])


def vector(text: str) -> list[float]:
    """Return the embedding of a text: eight numbers that its hash decides."""
    return [byte / 256 for byte in hashlib.sha256(text.encode()).digest()[:8]]


def _handler(reply: Replying, log: list[Asked]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            log.append(Asked(self.path, dict(self.headers), body))
            answer = reply(body)
            time.sleep(answer.delay)
            if answer.drop:
                self.close_connection = True
                return
            self._send(answer, _body(answer, body))

        def _send(self, answer: Reply, content: bytes) -> None:
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # the client has lost patience, as a test wanted
                self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    return Handler


def _body(answer: Reply, body: dict[str, Any]) -> bytes:
    if answer.raw is not None:
        return answer.raw
    if answer.status != 200:
        error = {"message": answer.content or "no", "type": "error", "code": None}
        return json.dumps({"error": error}).encode()
    content = _vectors(body["input"]) if "input" in body else _completion(answer, body)
    return json.dumps({**content, **answer.fields}).encode()


def _completion(answer: Reply, body: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.content}
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
    result = {
        "id": hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16],
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [choice],
    }
    if answer.usage is None:
        return result
    asked = "".join(turn["content"] for turn in body["messages"])
    counted = (_tokens(asked), _tokens(answer.content or ""))
    return {**result, "usage": _usage(counted if answer.usage == (-1, -1) else answer.usage)}


def _vectors(texts: Sequence[str]) -> dict[str, Any]:
    rows = [
        {"object": "embedding", "index": index, "embedding": vector(text)}
        for index, text in enumerate(texts)
    ]
    usage = _usage((sum(map(_tokens, texts)), 0))
    return {"object": "list", "data": rows[::-1], "model": "embedder", "usage": usage}


def _usage(tokens: tuple[int, int]) -> dict[str, int]:
    read, written = tokens
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }


def _tokens(text: str) -> int:
    return len(text.encode()) // 4 + 1
