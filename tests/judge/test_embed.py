"""Embeddings through the same client: their order, their price, their recordings."""

from pathlib import Path

import pytest

from pytest_sae.errors import JudgeError
from pytest_sae.judge.embed import embeddings
from pytest_sae.judge.settings import Budget
from tests.judge.asking import judge, recording, replaying, request
from tests.judge.provider import Reply, in_turn, provider, vector

MODEL = "openai/embedder"
TEXTS = [f"explanation {number}" for number in range(150)]
FINE = in_turn(Reply())


def test_every_text_has_its_own_vector_in_batches_of_64() -> None:
    with provider(FINE) as url:
        found = embeddings(MODEL, [*TEXTS, TEXTS[3]], judge(url).exchange)
    assert found == [vector(text) for text in [*TEXTS, TEXTS[3]]]
    assert [len(asked.body["input"]) for asked in url.log] == [64, 64, 22]


FAILURES = [Reply("busy", status=429), Reply("oops", status=500)]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_that_passes_is_waited_out(failure: Reply) -> None:
    with provider(in_turn(failure, Reply())) as url:
        assert embeddings(MODEL, ["text"], judge(url).exchange) == [vector("text")]
    assert len(url.log) == 2


@pytest.mark.parametrize("failure", FAILURES)
def test_the_library_adds_no_attempts_of_its_own(failure: Reply) -> None:
    with provider(in_turn(failure)) as url, pytest.raises(JudgeError, match="in 5 attempts"):
        embeddings(MODEL, ["text"], judge(url).exchange)
    assert len(url.log) == 5


def test_too_few_vectors_are_no_answer() -> None:
    none = Reply(fields={"data": []})
    with provider(in_turn(none)) as url, pytest.raises(JudgeError, match="0 embeddings came back"):
        embeddings(MODEL, ["text"], judge(url).exchange)
    assert len(url.log) == 5


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_refusal_is_told_at_once(status: int) -> None:
    with provider(in_turn(Reply("no", status=status))) as url, pytest.raises(JudgeError):
        embeddings(MODEL, ["text"], judge(url).exchange)
    assert len(url.log) == 1


def test_a_refusal_of_the_judge_does_not_keep_embeddings_from_being_asked_for() -> None:
    def reply(body):
        return Reply() if "input" in body else Reply("no", status=403)

    with provider(reply) as url:
        asking = judge(url)
        with pytest.raises(JudgeError):
            asking.ask([request(1)])
        assert embeddings(MODEL, ["text"], asking.exchange) == [vector("text")]


def test_a_replay_has_the_same_vectors_and_asks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    with provider(FINE) as url:
        asking = recording(url, path)
        found = embeddings(MODEL, TEXTS, asking.exchange)
        asking.close()
        again = embeddings(MODEL, TEXTS[::-1], recording(url, path).exchange)
        assert len(url.log) == 3
    assert embeddings(MODEL, TEXTS, replaying(path).exchange) == found == again[::-1]
    with pytest.raises(JudgeError, match="no embedding by openai/embedder of 1 texts"):
        embeddings(MODEL, ["another"], replaying(path).exchange)


def test_the_tokens_of_a_batch_are_divided_among_its_texts(tmp_path: Path) -> None:
    with provider(FINE) as url:
        asking = recording(url, tmp_path / "judge.jsonl")
        embeddings(MODEL, TEXTS[:64], asking.exchange)
        spent = asking.exchange.purse.spent.tokens
    shares = [record.usage.input_tokens for record in asking.exchange.recordings.all()]
    assert sum(shares) == spent > 0
    assert max(shares) - min(shares) <= 1 + max(shares) // 5


def test_judge_and_embeddings_share_one_budget() -> None:
    with provider(FINE) as url, pytest.raises(JudgeError, match="budget of 2200 tokens"):
        embeddings(MODEL, TEXTS, judge(url, budget=Budget(2200)).exchange)
    assert 1 <= len(url.log) < 3
