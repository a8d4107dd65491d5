"""The only place that calls litellm: one attempt at a time, with litellm's own retries off."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from pytest_sae.errors import JudgeError
from pytest_sae.judge.faults import AttemptError, fault_of
from pytest_sae.judge.recorded_answer import Usage
from pytest_sae.judge.request import Request

FORM = "Answer with nothing but one JSON object of the form {name}, by this JSON Schema: {schema}"
NO_KEY = "no-key"
# What every provider of structured output takes; some refuse `pattern`, `maxLength` and the like.
_STRUCTURE = ("type", "enum", "required", "additionalProperties")
_SCHEMA_WORDS = ("response_format", "json_schema", "schema", "structured output")


@dataclass(frozen=True)
class Reply:
    """What came back.

    Args:
        text: empty where a filter or the limit of tokens left nothing.
        finish_reason: `stop`, `length`, `content_filter`, ...
        usage: None where the provider did not say.
        cost: US dollars, None where the price is unknown.
        structured: whether the schema was sent as such.
        tempered: whether the temperature was sent.
    """

    text: str
    finish_reason: str
    usage: Usage | None
    cost: float | None
    structured: bool
    tempered: bool


@dataclass(frozen=True)
class Vectors:
    """Embeddings of several texts, in their order."""

    vectors: list[list[float]]
    usage: Usage | None
    cost: float | None


@cache
def litellm() -> Any:
    """Return the library, imported on first use and kept quiet.

    Its price list is the one installed with it: fetching the newest at import would make every
    run depend on a server. Embeddings read `max_retries=0` as "the default", so the default
    itself has to be 0.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    library: Any = import_module("litellm")
    library.suppress_debug_info = True
    library.DEFAULT_MAX_RETRIES = 0
    return library


def price(model: str, usage: Usage) -> float | None:
    """Return US dollars by litellm's price list, None where it does not know the model.

    Args:
        model: as litellm names it.
        usage: tokens in and out.
    """
    try:
        parts = litellm().cost_per_token(
            model=model,
            prompt_tokens=usage.input_tokens,
            completion_tokens=usage.output_tokens,
        )
    except Exception:  # litellm raises several unrelated classes for an unknown model
        return None
    return float(sum(parts))


def known_price(model: str, usage: Usage) -> float:
    """Return US dollars by litellm's price list.

    Args:
        model: as litellm names it.
        usage: tokens in and out.

    Raises:
        JudgeError: it does not know the model, so that a budget in dollars cannot be kept.
    """
    cost = price(model, usage)
    if cost is None:
        raise JudgeError(
            f"the price of {model} is unknown, so a budget in dollars cannot be kept: "
            "give one in tokens, such as --sae-judge-budget=200k"
        )
    return cost


def missing_keys(model: str) -> list[str]:
    """Return the environment variables that a provider wants and that are not set.

    Args:
        model: as litellm names it.
    """
    found = litellm().validate_environment(model=model)
    return [] if found["keys_in_environment"] else [str(each) for each in found["missing_keys"]]


class Chat:
    """Asks a model; what its provider cannot take is remembered and not sent again.

    Args:
        model: as litellm spells it.
        api_base: URL of a server, None for the provider's.
        timeout: seconds.
    """

    def __init__(self, model: str, api_base: str | None, timeout: float) -> None:
        self._model = model
        self._api_base = api_base
        self._timeout = timeout
        self._structured = True
        self._tempered = True
        self._tried = False
        self._first = threading.Lock()

    def send(self, request: Request, max_tokens: int) -> Reply:
        """Return the reply to one request.

        The first one goes alone: it finds out what the provider cannot take, and litellm imports
        most of itself during it, which threads should not do at the same time.

        Raises:
            AttemptError: there is none.
        """
        if self._tried:
            return self._send(request, max_tokens)
        with self._first:
            try:
                return self._send(request, max_tokens)
            finally:
                self._tried = True

    def _send(self, request: Request, max_tokens: int) -> Reply:
        library = litellm()
        while True:
            structured, tempered = self._structured, self._tempered
            try:
                response = library.completion(
                    **self._arguments(request, max_tokens, structured, tempered)
                )
            except Exception as error:
                if type(error).__name__ == "ContentPolicyViolationError":
                    return Reply("", "content_filter", None, None, structured, tempered)
                fault = fault_of(error, self._model, self._api_base)
                if not self._simplified(fault, structured, tempered):
                    raise fault from None
            else:
                return self._reply(response, structured, tempered)

    def _arguments(
        self, request: Request, max_tokens: int, structured: bool, tempered: bool
    ) -> dict[str, Any]:
        return {
            "model": self._model,
            "messages": messages(request, structured),
            "max_tokens": max_tokens,
            "timeout": float(self._timeout),
            "max_retries": 0,  # of the client that litellm uses
            "num_retries": 0,  # of litellm, which would retry a 401 too
            **_place(self._model, self._api_base),
            **({"temperature": 0} if tempered else {}),
            **({"response_format": _response_format(request)} if structured else {}),
        }

    def _simplified(self, fault: AttemptError, structured: bool, tempered: bool) -> bool:
        """Whether the same request may be taken when it is sent without what was refused."""
        if fault.status not in (400, 422):
            return False
        text = fault.problem.lower()
        if tempered and "temperature" in text:
            self._tempered = False
        elif structured and any(word in text for word in _SCHEMA_WORDS):
            self._structured = False
        else:
            return False
        return True

    def _reply(self, response: Any, structured: bool, tempered: bool) -> Reply:
        if not response.choices:
            raise AttemptError("a reply without choices", passes=True, billed=True)
        choice = response.choices[0]
        refusal = (getattr(choice.message, "provider_specific_fields", None) or {}).get("refusal")
        text = choice.message.content or refusal or ""
        reason = choice.finish_reason or "stop"
        if not text and reason not in ("length", "content_filter"):
            raise AttemptError("a reply without content", passes=True, billed=True)
        usage = _usage(response)
        return Reply(text, reason, usage, _cost(response, self._model, usage), structured, tempered)


def messages(request: Request, structured: bool) -> list[dict[str, str]]:
    """Return the messages as they are sent; the schema ends the last one if it has to be told.

    Args:
        request: to send.
        structured: whether the provider is given the schema apart.
    """
    turns = [{"role": each.role, "content": each.content} for each in request.messages]
    if not structured:
        schema = json.dumps(dict(request.schema), separators=(",", ":"))
        turns[-1]["content"] += "\n\n" + FORM.format(name=form_name(request), schema=schema)
    return turns


def form_name(request: Request) -> str:
    """Return the prompt's name as OpenAI takes it: letters, digits, `_` and `-`."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", request.prompt)[:64]


def embed(model: str, api_base: str | None, timeout: float, texts: Sequence[str]) -> Vectors:
    """Return the embeddings of texts in one attempt.

    Args:
        model: as litellm names it.
        api_base: address to ask, None for the provider's own.
        timeout: seconds until the attempt is given up.
        texts: one at least.

    Raises:
        AttemptError: there are none.
    """
    try:
        response = litellm().embedding(
            model=model,
            input=list(texts),
            encoding_format="float",
            timeout=float(timeout),
            max_retries=0,
            num_retries=0,
            **_place(model, api_base),
        )
    except Exception as error:
        raise fault_of(error, model, api_base) from None
    rows = sorted(response.data, key=lambda each: int(each["index"]))
    vectors = [[float(value) for value in row["embedding"]] for row in rows]
    if len(vectors) != len(texts):
        raise AttemptError(
            f"{len(vectors)} embeddings came back for {len(texts)} texts", passes=True, billed=True
        )
    usage = _usage(response)
    return Vectors(vectors, usage, _cost(response, model, usage))


def structure(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a schema says about structure, without bounds on lengths, patterns and numbers.

    Answers are held to the whole schema when they are read, and its key in the recordings is made
    from the whole, so that what is sent may change.
    """
    sent = {name: schema[name] for name in _STRUCTURE if name in schema}
    if "items" in schema:
        sent["items"] = structure(schema["items"])
    if "properties" in schema:
        sent["properties"] = {key: structure(each) for key, each in schema["properties"].items()}
    return sent


def _response_format(request: Request) -> dict[str, Any]:
    form = {"name": form_name(request), "schema": structure(request.schema), "strict": True}
    return {"type": "json_schema", "json_schema": form}


def _place(model: str, api_base: str | None) -> dict[str, str]:
    """Return where to ask; a server of one's own needs no key, and litellm asks for one."""
    if api_base is None:
        return {}
    of_openai = model.startswith("openai/") or "/" not in model
    keyless = of_openai and not os.environ.get("OPENAI_API_KEY")
    return {"api_base": api_base, **({"api_key": NO_KEY} if keyless else {})}


def _usage(response: Any) -> Usage | None:
    """None where the provider did not say, which litellm shows as zero tokens."""
    usage = getattr(response, "usage", None)
    read = int(getattr(usage, "prompt_tokens", 0) or 0)
    written = int(getattr(usage, "completion_tokens", 0) or 0)
    return Usage(input_tokens=read, output_tokens=written) if read else None


def _cost(response: Any, model: str, usage: Usage | None) -> float | None:
    stated = getattr(response, "_hidden_params", {}).get("response_cost")
    if usage is None:
        return None
    return price(model, usage) if stated is None else float(stated)
