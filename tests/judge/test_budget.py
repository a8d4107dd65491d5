"""The purse: never overdrawn, whoever reserves and in which order."""

import threading
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.errors import JudgeError
from pytest_sae.judge.budget import Amount, Purse, most_input, most_tokens
from pytest_sae.judge.settings import Budget
from tests.judge.asking import request


@given(
    limit=st.integers(0, 300),
    attempts=st.lists(st.tuples(st.integers(0, 100), st.floats(0, 1)), max_size=20),
    threads=st.integers(1, 8),
)
@settings(max_examples=60, deadline=None)
def test_however_many_spend_together_the_limit_holds(limit, attempts, threads) -> None:
    purse = Purse(Budget(limit, limit / 100))

    def spend(attempt) -> int:
        most, share = attempt
        held = Amount(most, most / 100)
        purse.reserve(held)
        used = int(most * share)
        purse.settle(held, Amount(used, used / 100))
        return used

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(spend, attempt) for attempt in attempts]
    spent = sum(future.result() for future in futures if not future.exception())
    assert purse.spent.tokens == spent <= limit
    assert all(isinstance(future.exception(), JudgeError | None) for future in futures)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=20), st.integers(0, 10**6))
def test_one_after_the_other_all_is_spent_that_fits(attempts: list[int], seed: int) -> None:
    limit = Random(seed).randint(1, sum(attempts))
    purse, spent = Purse(Budget(limit)), 0
    for most in attempts:
        held = Amount(most)
        if spent + most > limit:
            with pytest.raises(JudgeError, match=f"{spent} tokens spent.*needs up to {most}"):
                purse.reserve(held)
            continue
        purse.reserve(held)
        purse.settle(held, held)
        spent += most
    assert purse.spent.tokens == spent


def test_a_reservation_waits_for_one_that_may_give_back() -> None:
    purse, taken = Purse(Budget(100)), threading.Event()
    purse.reserve(Amount(80))

    def other() -> None:
        purse.reserve(Amount(50))
        taken.set()

    thread = threading.Thread(target=other)
    thread.start()
    assert not taken.wait(0.05)
    purse.settle(Amount(80), Amount(10))
    assert taken.wait(5)
    thread.join()


def test_without_a_budget_everything_fits() -> None:
    purse = Purse(None)
    purse.reserve(Amount(10**12, 1e9))
    assert not purse.in_dollars


def test_the_message_names_both_limits() -> None:
    with pytest.raises(JudgeError, match=r"budget of 10 tokens: 0 .* and \$0.5000: \$0.0000 spent"):
        Purse(Budget(10, 0.5)).reserve(Amount(20, 1.0))


@pytest.mark.parametrize(
    "text",
    ["plain words", "1234567890" * 20, "\n" * 50, "日本語のテキスト", "🤯" * 30, "ééé", "{}[]:,"],
)
def test_no_tokenizer_makes_more_of_a_request_than_its_bound(text: str) -> None:
    import litellm

    asked = request(1, text)
    turns = [{"role": each.role, "content": each.content} for each in asked.messages]
    for model in ("gpt-4", "gpt-4o", "claude-3-5-sonnet-20241022", "openai/unknown"):
        assert litellm.token_counter(model=model, messages=turns) <= most_input(asked)


@given(st.lists(st.text(), max_size=5))
def test_the_bound_grows_with_every_text(texts: list[str]) -> None:
    assert most_tokens(texts) >= sum(len(text.encode(errors="replace")) for text in texts)
    assert most_tokens([*texts, "more"]) > most_tokens(texts)
