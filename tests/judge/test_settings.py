"""What may be said about a judge, and the sentence where it may not."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_sae.errors import OptionError
from pytest_sae.judge.settings import Budget, JudgeSettings, parse_budget


@pytest.mark.parametrize(
    ("text", "tokens", "dollars"),
    [
        ("200000", 200_000, None),
        ("200k", 200_000, None),
        ("2M", 2_000_000, None),
        ("1.5k", 1500, None),
        ("$1.50", None, 1.5),
        ("1.5usd", None, 1.5),
        ("0.25 USD", None, 0.25),
        ("2M,$5", 2_000_000, 5.0),
        ("$5, 200k", 200_000, 5.0),
    ],
)
def test_a_budget_is_tokens_dollars_or_both(text, tokens, dollars) -> None:
    assert parse_budget(text) == Budget(tokens, dollars)


@pytest.mark.parametrize(
    "text", ["", "many", "-5", "1e6", "5€", "$", "1,2", "$1,$2", "200k,", "0", "$0", "2Mk", "nan"]
)
def test_another_budget_is_refused_with_the_forms_that_there_are(text: str) -> None:
    with pytest.raises(OptionError, match=r"200k or 2M .*\$1.50 or 1.5usd"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["5", "1.5", "0.5k", "999"])
def test_a_bare_number_that_is_no_budget_in_tokens_is_refused_with_the_units(text: str) -> None:
    with pytest.raises(OptionError, match=rf"would be [\d.]+ tokens.*{text}usd"):
        parse_budget(text)
    assert parse_budget("1000").tokens == 1000


@given(st.text(max_size=12))
def test_any_text_is_a_budget_or_a_sentence(text: str) -> None:
    try:
        budget = parse_budget(text)
    except OptionError:
        return
    assert (budget.tokens or 0) > 0 or (budget.dollars or 0) > 0


@given(st.integers(1, 10**9), st.integers(1, 64))
def test_the_shares_of_all_workers_together_keep_to_the_budget(tokens: int, workers: int) -> None:
    share = Budget(tokens, 1.0).share(workers)
    assert share.tokens * workers <= tokens < (share.tokens + 1) * workers
    assert share.dollars * workers == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"mode": "record"}, "needs the file"),
        ({"mode": "replay"}, "needs the file"),
        ({"mode": "offline", "recordings": Path("x")}, "live, record, replay"),
        ({"concurrency": 0}, "at least one request"),
        ({"workers": 0}, "at least one request"),
    ],
)
def test_settings_that_cannot_work_are_refused(said, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        JudgeSettings("openai/judge", **said)
