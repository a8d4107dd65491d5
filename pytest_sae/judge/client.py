"""A language model as judge: what is recorded is not asked, what is invalid is asked once more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Literal

from pytest_sae.errors import JudgeError
from pytest_sae.judge.answer_parser import InvalidAnswerError, parse
from pytest_sae.judge.base import Answer, Spent
from pytest_sae.judge.budget import most_input
from pytest_sae.judge.exchange import AbandonedError, Exchange
from pytest_sae.judge.provider import Chat, Reply
from pytest_sae.judge.recorded_answer import PARAMETERS, ChatRecord, Usage, chat_record
from pytest_sae.judge.request import Request
from pytest_sae.judge.tally import Tally


class ModelJudge:
    """Asks a model through litellm, or through what it once answered.

    Nothing is asked and no library loaded before `ask`.

    Args:
        exchange: settings, recordings and purse, shared with `embed.embeddings`.
    """

    kind: Literal["model"] = "model"

    def __init__(self, exchange: Exchange) -> None:
        settings = exchange.settings
        self.exchange = exchange
        self._settings = settings
        self._chat = Chat(settings.model, settings.api_base, settings.timeout)
        self._tally = Tally(exchange.recordings.is_old)

    @property
    def name(self) -> str:
        """The model as litellm spells it."""
        return self._settings.model

    @property
    def spent(self) -> Spent:
        """What was asked so far; the same question asked again is not counted again."""
        return self._tally.spent()

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Return the answers in the order of the requests; equal requests are asked once.

        Raises:
            JudgeError: no answer can be had: refused, unreachable, out of budget, not recorded.
        """
        keys = [self._key(request) for request in requests]
        distinct = dict(zip(keys, requests, strict=True))
        answers = dict(zip(distinct, self._each(distinct.values()), strict=True))
        return [answers[key] for key in keys]

    def close(self) -> None:
        """Put the recordings in order; what was recorded is safe without it."""
        self.exchange.recordings.close()

    def _each(self, requests: Iterable[Request]) -> list[Answer]:
        if self._settings.mode == "replay":
            return [self._answer(request) for request in requests]
        self.exchange.resume()
        pool = ThreadPoolExecutor(self._settings.concurrency, "judge")
        futures = [pool.submit(self._answer, request) for request in requests]
        interrupted = True
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            interrupted = False
        finally:
            _abandon(futures, self.exchange.stop)
            # Whoever interrupts does not wait for answers that are under way.
            pool.shutdown(wait=not interrupted)
        return _results(futures)

    def _answer(self, request: Request) -> Answer:
        record = self._record(request)
        answer, records = _read(record, request), [record]
        if answer.value is None and record.answer:
            again = request.repaired(record.answer, answer.problem)
            records.append(self._record(again))
            answer = _read(records[-1], again)
        self._tally.count(record.key, answer, records)
        return answer

    def _record(self, request: Request) -> ChatRecord:
        recordings = self.exchange.recordings
        known = recordings.get(self._key(request), ChatRecord)
        if known is not None:
            return known
        if self._settings.mode == "replay":
            raise JudgeError(
                f"{self._settings.recordings} has no answer of {self.name} to this request of "
                f"{request.prompt} ({self._key(request)[:12]}): "
                "run once with --sae-judge-mode=record"
            )
        return recordings.add(self._asked(request))

    def _asked(self, request: Request) -> ChatRecord:
        reply, retries = self._send(request, request.max_tokens)
        usage, cost = reply.usage, reply.cost
        if reply.finish_reason == "length":
            reply, more = self._send(request, 2 * request.max_tokens)
            retries += more
            usage = None if usage is None or reply.usage is None else usage + reply.usage
            cost = None if cost is None or reply.cost is None else cost + reply.cost
        return chat_record(
            request,
            self.name,
            answer=reply.text,
            finish_reason=reply.finish_reason,
            usage=usage,
            cost=cost,
            retries=retries,
            structured=reply.structured,
            tempered=reply.tempered,
        )

    def _send(self, request: Request, max_tokens: int) -> tuple[Reply, int]:
        most = Usage(input_tokens=most_input(request), output_tokens=max_tokens)
        return self.exchange.perform(self.name, most, lambda: self._chat.send(request, max_tokens))

    def _key(self, request: Request) -> str:
        return request.key(self.name, PARAMETERS)


def _read(record: ChatRecord, request: Request) -> Answer:
    try:
        return Answer(parse(record.answer, request.form))
    except InvalidAnswerError as invalid:
        why = {"length": "it was cut off", "content_filter": "a filter withheld it"}
        return Answer(None, why.get(record.finish_reason, str(invalid)))


def _abandon(futures: Sequence[Future[Answer]], stop: Callable[[], None]) -> None:
    """Let what has begun end and nothing else begin, if there is a failure or an interruption."""
    if all(future.done() and not future.exception() for future in futures):
        return
    stop()
    for future in futures:
        future.cancel()


def _results(futures: Sequence[Future[Answer]]) -> list[Answer]:
    """The answers, or the first failure that was not itself caused by another one."""
    failures = [
        failure
        for future in futures
        if not future.cancelled() and (failure := future.exception()) is not None
    ]
    for failure in sorted(failures, key=lambda each: isinstance(each, AbandonedError)):
        raise failure
    return [future.result() for future in futures]
