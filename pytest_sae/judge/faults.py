"""Attempts that failed: which of them pass, which may have cost something, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pytest_sae.judge.secrecy import scrubbed

_LONGEST = 300
_PASSING = (408, 409, 425, 429)
_UNBILLED = (400, 401, 402, 403, 404, 413, 422, 429)
_UNCERTAIN = (408, 504)


class AttemptError(Exception):
    """One attempt that gave no answer.

    Args:
        problem: what was found, in a sentence without secrets.
        passes: whether trying again can help.
        billed: whether the provider may have counted tokens for it.
        advice: what to do, for the faults that do not pass.
        status: of HTTP, None where there was none.
        retry_after: seconds that the provider asked to wait, None if it did not.
    """

    def __init__(
        self,
        problem: str,
        *,
        passes: bool,
        billed: bool,
        advice: str = "",
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.passes = passes
        self.billed = billed
        self.advice = advice
        self.status = status
        self.retry_after = retry_after

    @property
    def short(self) -> str:
        """The problem, cut where a provider sent a page of text."""
        return self.problem if len(self.problem) <= _LONGEST else self.problem[:_LONGEST] + "..."


def fault_of(error: Exception, model: str, api_base: str | None) -> AttemptError:
    """Return what an exception of litellm means.

    litellm gives status 500 to much that never was an answer (no key, no server, no JSON), so
    the class says little: what decides is the status together with whether headers arrived.

    Args:
        error: what litellm raised.
        model: that was asked, as litellm names it.
        api_base: address that was asked, None for the provider's own.
    """
    status = _status(error)
    problem, advice = _problem(error), ""
    answered = getattr(error, "litellm_response_headers", None) is not None
    if _refused(error):
        problem, advice = (
            f"nothing listens at {_place(api_base)}",
            "start the server or mend the URL",
        )
    elif not answered and "missing credentials" in problem.lower():
        advice = f"set {_variable(model)}"
    elif "insufficient_quota" in problem or status == 402:
        advice = "the account has no credit left: top it up or use another model"
    elif _passes(error, status):
        return AttemptError(
            problem,
            passes=True,
            billed=status in _UNCERTAIN or not (answered or status in _UNBILLED),
            status=status,
            retry_after=_retry_after(error),
        )
    return AttemptError(
        problem,
        passes=False,
        billed=False,
        advice=advice or _advice(status, error, model),
        status=status,
    )


def _passes(error: Exception, status: int | None) -> bool:
    if status is None:
        return type(error).__module__.split(".")[0] in ("httpx", "httpcore")
    return status in _PASSING or status >= 500


def _status(error: Exception) -> int | None:
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def _problem(error: Exception) -> str:
    return scrubbed(" ".join(str(error).split())) or type(error).__name__


def _refused(error: BaseException) -> bool:
    return any(
        isinstance(each, ConnectionRefusedError) or "Connection refused" in str(each)
        for each in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _place(api_base: str | None) -> str:
    """The URL without user and password."""
    if api_base is None:
        return "the provider's address"
    scheme, separator, rest = api_base.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]


def _variable(model: str) -> str:
    provider = model.partition("/")[0] if "/" in model else "openai"
    name = provider.upper().replace("-", "_")
    return f"the environment variable that litellm reads for {provider}, usually {name}_API_KEY"


def _advice(status: int | None, error: Exception, model: str) -> str:
    if type(error).__name__ == "ContextWindowExceededError":
        return "the request is longer than the model reads: use one with a longer context"
    if status == 401 or "api key" in str(error).lower():
        return f"check {_variable(model)}"
    if status == 403:
        return "the account may not use this model: ask for access or use another one"
    if status == 404 or "LLM Provider NOT provided" in str(error):
        return (
            "no such model there: spell it provider/name as litellm does, such as "
            "openai/gpt-4o-mini, and look at the URL"
        )
    return "the provider refuses this request as it stands: try another model"


def _retry_after(error: Exception) -> float | None:
    headers: Any = getattr(error, "litellm_response_headers", None)
    if not headers:
        return None
    value = {str(name).lower(): str(text) for name, text in headers.items()}.get("retry-after")
    return None if value is None else seconds(value, datetime.now(UTC))


def seconds(value: str, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header means: a number of them, or a date.

    The header is that of RFC 9110, 10.2.3.

    Args:
        value: of the header.
        now: with a time zone; what a date is compared with.

    Returns:
        0 or more, None where it is neither.
    """
    try:
        wait = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        wait = (aware - now).total_seconds()
    return max(0.0, wait) if wait == wait else None
