"""How often and how long: the policy alone, with a clock that only notes."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_sae.errors import JudgeError
from pytest_sae.judge.faults import AttemptError, seconds
from pytest_sae.judge.retry import Patience, persist

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


def failing(times: int, **said):
    """An attempt that fails so many times, then says how many attempts were made."""
    made = []

    def attempt() -> int:
        made.append(None)
        if len(made) <= times:
            raise AttemptError("busy", **{"passes": True, "billed": False, **said})
        return len(made)

    return attempt


@given(st.integers(0, 6), st.integers(1, 6))
def test_an_attempt_is_made_until_it_succeeds_or_patience_ends(fails: int, attempts: int) -> None:
    waits: list[float] = []
    patience = Patience(attempts)
    if fails < attempts:
        made, failed = persist(failing(fails), patience, Random(0), waits.append)
        assert (made, failed, len(waits)) == (fails + 1, fails, fails)
    else:
        with pytest.raises(JudgeError, match=f"in {attempts} attempts, at last: busy"):
            persist(failing(fails), patience, Random(0), waits.append)
        assert len(waits) == attempts - 1


def test_what_does_not_pass_is_not_tried_again() -> None:
    waits: list[float] = []
    attempt = failing(9, passes=False, advice="buy a key")
    with pytest.raises(JudgeError, match="busy: buy a key"):
        persist(attempt, Patience(), Random(0), waits.append)
    assert waits == []


@given(failed=st.integers(1, 12), seed=st.integers(), asked=st.none() | st.floats(0, 1000))
def test_a_wait_is_within_its_bounds_and_no_shorter_than_asked(failed, seed, asked) -> None:
    patience = Patience(base=0.5, longest=20)
    wait = patience.wait(failed, asked, Random(seed))
    least = min(asked or 0, 20)
    assert least <= wait <= max(least, min(20, 0.5 * 2 ** (failed - 1)))


def test_waits_are_spread_over_the_whole_span() -> None:
    rng = Random(0)
    waits = [Patience(base=1, longest=60).wait(4, None, rng) for _ in range(2000)]
    assert sum(waits) / len(waits) == pytest.approx(4, abs=0.2)
    assert min(waits) < 0.1
    assert max(waits) > 7.9


@given(st.integers(-1000, 100_000))
def test_retry_after_is_seconds_or_a_date(wait: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=wait), usegmt=True)
    assert seconds(date, NOW) == seconds(str(wait), NOW) == max(0, wait)


@given(st.text())
def test_any_other_header_is_no_wish(text: str) -> None:
    found = seconds(text, NOW)
    assert found is None or found >= 0


@pytest.mark.parametrize("text", ["soon", "nan", "", "Mi, 1 Mai"])
def test_a_header_that_says_nothing_is_none(text: str) -> None:
    assert seconds(text, NOW) is None
