"""The judge client against a provider on the loopback interface, through the real litellm."""

import json
from dataclasses import replace
from random import Random
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_sae.errors import JudgeError
from pytest_sae.judge.client import ModelJudge
from pytest_sae.judge.embed import embeddings
from pytest_sae.judge.exchange import Exchange
from pytest_sae.judge.form import Form
from pytest_sae.judge.provider import NO_KEY, structure
from pytest_sae.judge.request import Request
from pytest_sae.judge.retry import Patience
from pytest_sae.judge.settings import Budget, JudgeSettings
from tests.judge.asking import MODEL, doubling, judge, number_of, request, right
from tests.judge.provider import Reply, answering, in_turn, provider, request_of
from tests.judge.test_prompts import answers, requests

ASKED = [request(number) for number in range(12)]
RIGHT = [json.loads(right(number)) for number in range(12)]


def as_sent(asked: Request) -> Request:
    return replace(asked, form=Form(structure(asked.schema), Any))


def values(answers):
    return [answer.value for answer in answers]


# Right answers


@given(concurrency=st.integers(1, 8), order=st.permutations(range(12)))
@settings(max_examples=6, deadline=None)
def test_answers_come_in_the_order_of_the_requests_whatever_the_concurrency(
    concurrency: int, order: list[int]
) -> None:
    def reply(body):
        return replace(doubling(body), delay=0.01 * (number_of(body) % 3))

    with provider(reply) as url:
        answers = judge(url, concurrency=concurrency).ask([ASKED[each] for each in order])
    assert values(answers) == [RIGHT[each] for each in order]


def test_the_request_arrives_as_it_was_made_with_schema_and_temperature() -> None:
    with provider(doubling) as url:
        judge(url).ask([request(3)])
    (asked,) = url.log
    assert request_of(asked.body) == as_sent(request(3))
    assert asked.body["response_format"]["json_schema"]["strict"] is True
    assert asked.body["temperature"] == 0


@given(requests(), st.data())
@settings(max_examples=30, deadline=None)
def test_of_a_schema_only_the_structure_is_sent(asked: Request, data: st.DataObject) -> None:
    # Providers refuse some of the other keywords; which ones differs from model to model.
    sent = structure(asked.schema)
    assert keywords(sent) <= {"type", "enum", "required", "additionalProperties", "properties"}
    assert keywords(asked.schema) - keywords(sent) <= {"pattern", "maxLength"}
    jsonschema.validate(data.draw(answers(asked.schema)), sent)


def keywords(schema: dict) -> set[str]:
    return set(schema).union(*map(keywords, schema.get("properties", {}).values()))


def test_equal_requests_are_asked_once_and_counted_once() -> None:
    with provider(doubling) as url:
        asking = judge(url)
        answers = asking.ask([request(1), request(2), request(1)]) + asking.ask([request(2)])
    assert values(answers) == [RIGHT[1], RIGHT[2], RIGHT[1], RIGHT[2]]
    assert len(url.log) == asking.spent.requests == 2


def test_spent_adds_up_what_the_provider_counted() -> None:
    with provider(lambda body: replace(doubling(body), usage=(100, 7))) as url:
        asking = judge(url)
        asking.ask(ASKED)
    spent = asking.spent
    assert (spent.input_tokens, spent.output_tokens, spent.requests) == (1200, 84, 12)
    assert spent.cost is None, "litellm does not know the price of this model"


def test_the_cost_of_a_known_model_is_that_of_litellm_s_price_list() -> None:
    with provider(lambda body: replace(doubling(body), usage=(1000, 100))) as url:
        asking = judge(url, "gpt-4o-mini")
        asking.ask([request(1), request(2)])
    assert asking.spent.cost == pytest.approx(2 * (1000 * 0.15e-6 + 100 * 0.6e-6))


def test_another_judge_can_answer_through_the_client() -> None:
    with provider(doubling) as inner, provider(answering(judge(inner))) as outer:
        assert values(judge(outer).ask([request(4)])) == [RIGHT[4]]


# Answers that cannot be used

WRONG = {
    "prose around": 'Sure! Here it is: {"reason": "r", "double": 2}. Anything else?',
    "another language": "Конечно! Вот ответ: два.",
    "no JSON": '{"reason": "r", "double": 2',
    "a missing field": '{"double": 2}',
    "a field too many": '{"reason": "r", "double": 2, "more": 1}',
    "another type": '{"reason": "r", "double": "2"}',
    "out of range": '{"reason": "r", "double": -2}',
    "a key twice": '{"reason": "r", "double": 2, "double": 3}',
    "not a number": '{"reason": "r", "double": NaN}',
    "a list": '[{"reason": "r", "double": 2}]',
    "two objects": '{"reason": "r", "double": 2} {"reason": "r", "double": 2}',
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG.keys())
def test_an_answer_of_another_form_is_shown_to_the_judge_and_asked_for_once_more(
    content: str,
) -> None:
    with provider(in_turn(Reply(content), Reply(right(1)))) as url:
        asking = judge(url)
        (answer,) = asking.ask([request(1)])
    first, second = (asked.body["messages"] for asked in url.log)
    assert answer.value == RIGHT[1]
    assert second[: len(first)] == first
    assert second[len(first)]["content"] == content
    assert (asking.spent.requests, asking.spent.repaired, asking.spent.abstained) == (2, 1, 0)


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG.keys())
def test_a_judge_that_stays_wrong_has_abstained_after_two_requests(content: str) -> None:
    with provider(in_turn(Reply(content))) as url:
        asking = judge(url)
        (answer,) = asking.ask([request(1)])
    assert answer.value is None
    assert answer.problem
    assert len(url.log) == 2
    assert (asking.spent.repaired, asking.spent.abstained) == (1, 1)


def test_a_fenced_answer_is_an_answer() -> None:
    with provider(in_turn(Reply(f"```json\n{right(1)}\n```"))) as url:
        assert values(judge(url).ask([request(1)])) == [RIGHT[1]]
    assert len(url.log) == 1


def test_an_answer_that_was_cut_off_is_asked_for_with_twice_the_room() -> None:
    def reply(body):
        long = Reply('{"reason": "because', finish_reason="length")
        return doubling(body) if body["max_tokens"] >= 100 else long

    with provider(reply) as url:
        asking = judge(url)
        assert values(asking.ask([request(1)])) == [RIGHT[1]]
    assert [asked.body["max_tokens"] for asked in url.log] == [50, 100]
    assert asking.spent.output_tokens > len(right(1)) // 4 + 1, "both attempts are paid for"


def test_a_judge_that_thinks_until_nothing_is_left_has_abstained() -> None:
    with provider(in_turn(Reply(None, finish_reason="length"))) as url:
        (answer,) = judge(url).ask([request(1)])
    assert (answer.value, answer.problem) == (None, "it was cut off")
    assert len(url.log) == 2


def test_an_answer_withheld_by_a_filter_is_an_abstention() -> None:
    with provider(in_turn(Reply(None, finish_reason="content_filter"))) as url:
        (answer,) = judge(url).ask([request(1)])
    assert (answer.value, answer.problem) == (None, "a filter withheld it")
    assert len(url.log) == 1


def test_a_prompt_that_the_provider_s_policy_refuses_is_an_abstention_of_that_request() -> None:
    refused = Reply("invalid_request_error: content_policy_violation", status=400)

    def reply(body):
        return refused if number_of(body) == 1 else doubling(body)

    with provider(reply) as url:
        answers = judge(url).ask(ASKED[:3])
    assert values(answers) == [RIGHT[0], None, RIGHT[2]]


# Failures that pass

PASSING = {
    "429": Reply("slow down", status=429, headers={"Retry-After": "0.05"}),
    "500": Reply("oops", status=500),
    "503": Reply("overloaded", status=503),
    "529": Reply("overloaded", status=529),
    "dropped": Reply(drop=True),
    "no choices": Reply(fields={"choices": []}),
    "no content": Reply(None),
    "empty content": Reply(""),
    "no JSON at all": Reply(raw=b"<html>a proxy is here</html>"),
    "slow": Reply(right(1), delay=0.6),
}


@pytest.mark.parametrize("failure", PASSING.values(), ids=PASSING.keys())
def test_a_failure_that_passes_is_waited_out(failure: Reply) -> None:
    with provider(in_turn(failure, failure, Reply(right(1)))) as url:
        asking = judge(url, timeout=0.3)
        assert values(asking.ask([request(1)])) == [RIGHT[1]]
    assert len(url.log) == 3
    assert (asking.spent.retries, asking.spent.requests) == (2, 1)


def test_the_wait_is_the_one_that_the_provider_asks_for_up_to_a_minute() -> None:
    waits: list[float] = []
    replies = [Reply("busy", status=429, headers={"Retry-After": each}) for each in ("7", "900")]
    with provider(in_turn(*replies, Reply(right(1)))) as url:
        exchange = Exchange(JudgeSettings(MODEL, url), Patience(), Random(0), waits.append)
        assert values(ModelJudge(exchange).ask([request(1)])) == [RIGHT[1]]
    assert waits == [7.0, 60.0]


@pytest.mark.parametrize("name", ["429", "500", "dropped", "no choices"])
def test_a_failure_that_does_not_pass_is_told_after_five_attempts(name: str) -> None:
    with provider(in_turn(PASSING[name])) as url, pytest.raises(JudgeError, match="5 attempts"):
        judge(url).ask([request(1)])
    assert len(url.log) == 5


# Failures that do not pass

LASTING = {
    400: "refuses this request",
    401: "OPENAI_API_KEY",
    402: "no credit",
    403: "may not use this model",
    404: "no such model",
}


@pytest.mark.parametrize(("status", "advice"), LASTING.items())
def test_a_refusal_is_told_at_once_with_what_to_do(status: int, advice: str) -> None:
    with (
        provider(in_turn(Reply("go away", status=status))) as url,
        pytest.raises(JudgeError, match=advice) as raised,
    ):
        judge(url).ask([request(1)])
    assert len(url.log) == 1
    assert "go away" in str(raised.value)


def test_a_key_that_the_provider_repeats_does_not_reach_the_message() -> None:
    def reply(body):
        return Reply("Incorrect API key: sk-loopback-0123456789", status=401)

    with provider(reply) as url, pytest.raises(JudgeError) as raised:
        judge(url).ask([request(1)])
    assert "sk-loopback" not in str(raised.value)
    assert "<OPENAI_API_KEY>" in str(raised.value)


def test_a_missing_key_is_told_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with provider(doubling):
        monkeypatch.delenv("OPENAI_API_KEY")
        with pytest.raises(JudgeError, match=r"set the environment variable.*OPENAI_API_KEY"):
            judge(None).ask([request(1)])


def test_a_server_that_is_not_there_is_told_without_its_password() -> None:
    with provider(doubling) as url:
        pass
    port = url.rpartition(":")[2]
    with (
        provider(doubling),
        pytest.raises(JudgeError, match=rf"nothing listens at http://127.0.0.1:{port}: start"),
    ):
        judge(f"http://me:hidden@127.0.0.1:{port}").ask([request(1)])


def test_an_unknown_provider_is_told_with_how_models_are_spelled() -> None:
    with pytest.raises(JudgeError, match="openai/gpt-4o-mini"):
        judge(None, "nosuch/model").ask([request(1)])


def test_one_refusal_ends_the_asking_of_all() -> None:
    def reply(body):
        return Reply("no", status=403) if number_of(body) == 0 else Reply("busy", status=503)

    with provider(reply) as url, pytest.raises(JudgeError, match="may not use"):
        judge(url, concurrency=2).ask(ASKED)
    assert len({number_of(asked.body) for asked in url.log}) < len(ASKED)


def test_after_a_failure_the_same_judge_can_be_asked_again_and_knows_what_was_answered() -> None:
    broken = True

    def reply(body):
        refused = broken and number_of(body) == 2
        return Reply("not today", status=403) if refused else doubling(body)

    with provider(reply) as url:
        asking = judge(url, concurrency=1)
        with pytest.raises(JudgeError):
            asking.ask(ASKED[:3])
        broken = False
        assert values(asking.ask(ASKED[:3])) == RIGHT[:3]
    assert [number_of(asked.body) for asked in url.log] == [0, 1, 2, 2]


# Providers that take less than is sent


@pytest.mark.parametrize(
    "said", ["'response_format' of type json_schema is not supported", "bad schema"]
)
def test_a_provider_without_schemas_is_told_in_words_and_remembered(said: str) -> None:
    def reply(body):
        return Reply(said, status=400) if "response_format" in body else doubling(body)

    with provider(reply) as url:
        answers = judge(url, concurrency=4).ask(ASKED)
    told = [request_of(asked.body) for asked in url.log if "response_format" not in asked.body]
    assert values(answers) == RIGHT
    assert len(url.log) == 1 + len(ASKED)
    assert sorted(told, key=str) == sorted(ASKED, key=str)


def test_a_model_that_litellm_knows_to_have_no_schemas_is_told_in_words() -> None:
    with provider(doubling) as url:
        assert values(judge(url, "gpt-4").ask([request(1)])) == [RIGHT[1]]
    assert ["response_format" in asked.body for asked in url.log] == [False]


def test_a_model_with_a_temperature_of_its_own_is_asked_without_one() -> None:
    with provider(doubling) as url:
        assert values(judge(url, "o3-mini").ask([request(1)])) == [RIGHT[1]]
    assert ["temperature" in asked.body for asked in url.log] == [False]


# Budget


@given(
    tokens=st.integers(1, 9000),
    concurrency=st.integers(1, 6),
    outputs=st.lists(st.integers(1, 50), min_size=1, max_size=12),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_tokens_that_the_provider_counts_never_exceed_the_budget(
    tokens: int, concurrency: int, outputs: list[int]
) -> None:
    billed = []

    def reply(body):
        usage = (len(body["messages"][1]["content"]), outputs[number_of(body) % len(outputs)])
        billed.append(sum(usage))
        return replace(doubling(body), usage=usage)

    with provider(reply) as url:
        asking = judge(url, budget=Budget(tokens), concurrency=concurrency)
        try:
            answers = asking.ask([request(each, "x" * 40) for each in range(len(outputs))])
        except JudgeError as error:
            assert "tokens spent, the next request needs up to" in str(error)  # noqa: PT017
        else:
            assert len(answers) == len(outputs)
    assert sum(billed) <= tokens
    assert asking.spent.input_tokens + asking.spent.output_tokens <= sum(billed)


def test_a_reply_that_does_not_say_what_it_used_counts_at_its_upper_bound() -> None:
    with provider(lambda body: replace(doubling(body), usage=None)) as url:
        asking = judge(url, concurrency=1)
        asking.ask([request(1)])
        unsaid = asking.exchange.purse.spent.tokens
    assert unsaid > 512
    assert (asking.spent.input_tokens, asking.spent.output_tokens) == (0, 0)


@pytest.mark.parametrize("name", ["slow", "dropped", "no JSON at all"])
def test_an_attempt_that_may_have_been_billed_counts_at_its_upper_bound(name: str) -> None:
    with provider(in_turn(PASSING[name], Reply(right(1), usage=(10, 10)))) as url:
        asking = judge(url, timeout=0.3)
        asking.ask([request(1)])
    assert asking.exchange.purse.spent.tokens > 512


@pytest.mark.parametrize("name", ["429", "500"])
def test_an_attempt_that_was_refused_costs_nothing(name: str) -> None:
    with provider(in_turn(PASSING[name], Reply(right(1), usage=(10, 10)))) as url:
        asking = judge(url)
        asking.ask([request(1)])
    assert asking.exchange.purse.spent.tokens == 20


def test_a_budget_in_dollars_stops_before_it_is_exceeded() -> None:
    def reply(body):
        return replace(doubling(body), usage=(500, 50))

    price = 500 * 0.15e-6 + 50 * 0.6e-6
    with provider(reply) as url:
        asking = judge(url, "gpt-4o-mini", budget=Budget(dollars=0.001), concurrency=1)
        with pytest.raises(JudgeError, match=r"budget of \$0.0010: \$0\.000\d"):
            asking.ask(ASKED)
    assert 0 < asking.spent.requests < len(ASKED)
    assert asking.exchange.purse.spent.dollars == pytest.approx(price * len(url.log))
    assert asking.exchange.purse.spent.dollars <= 0.001


def test_a_budget_in_dollars_needs_a_price() -> None:
    with (
        provider(doubling) as url,
        pytest.raises(JudgeError, match="price of openai/judge is unknown"),
    ):
        judge(url, budget=Budget(dollars=1.0)).ask([request(1)])
    assert url.log == []


def test_each_worker_may_spend_its_share() -> None:
    with provider(doubling) as url:
        judge(url, budget=Budget(3000)).ask([request(1)])
        with pytest.raises(JudgeError, match="750 tokens for each of 4 workers"):
            judge(url, budget=Budget(3000), workers=4).ask([request(1)])


# A server of one's own


@pytest.mark.parametrize("key", [None, ""])
def test_a_server_of_ones_own_needs_no_key(
    monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    with provider(doubling) as url:
        monkeypatch.delenv("OPENAI_API_KEY")
        if key is not None:
            monkeypatch.setenv("OPENAI_API_KEY", key)
        asking = judge(url)
        assert values(asking.ask([request(1)])) == [RIGHT[1]]
    with provider(in_turn(Reply())) as embedding:
        monkeypatch.delenv("OPENAI_API_KEY")
        assert len(embeddings("openai/embedder", ["a", "b"], judge(embedding).exchange)) == 2
    sent = {asked.headers["Authorization"] for asked in (*url.log, *embedding.log)}
    assert sent == {f"Bearer {NO_KEY}"}
