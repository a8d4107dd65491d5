"""What is kept of an answer: one line of a recordings file, checked strictly when it is read.

    chat_record(request, model, ...) -> ChatRecord
    embedding_record(model, text, ...) -> EmbeddingRecord
    line(record) -> str;  parse_line(text) -> Record

Import it lazily: pydantic takes a while.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from pytest_sae.judge.request import Request, digest

PARAMETERS: dict[str, Any] = {"temperature": 0}
EMBED = "embed/1"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Usage(_Strict):
    """Tokens as the provider counted them."""

    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
        )


class Turn(_Strict):
    """One message of a request."""

    role: str
    content: str


class _Record(_Strict):
    """What both kinds have.

    `usage`, `cost` and `retries` cover everything that was needed for this answer, also a first
    one that was cut off. None is what the provider, or litellm's price list, did not say.
    """

    version: Literal[1] = 1
    key: str
    model: str
    prompt: str
    usage: Usage | None
    cost: float | None
    retries: int = Field(ge=0)


class ChatRecord(_Record):
    """An answer to a `Request`, valid or not."""

    kind: Literal["chat"] = "chat"
    parameters: dict[str, JsonValue]
    messages: list[Turn]
    form: dict[str, JsonValue] = Field(alias="schema")
    max_tokens: int
    answer: str
    finish_reason: str
    structured: bool = Field(description="whether the provider took the schema")
    tempered: bool = Field(description="whether the provider took the temperature")

    def expected_key(self) -> str:
        """The key by the content of the request."""
        names = {"model", "parameters", "prompt", "messages", "form", "max_tokens"}
        return digest(self.model_dump(mode="json", by_alias=True, include=names))

    def texts(self) -> Iterator[str]:
        """Everything that a person wrote or a model said."""
        yield from (self.model, self.answer, json.dumps(self.form))
        yield from (turn.content for turn in self.messages)


class EmbeddingRecord(_Record):
    """The vector of one text; usage and cost are its share of the batch it was sent in."""

    kind: Literal["embedding"] = "embedding"
    text: str
    vector: list[float]

    def expected_key(self) -> str:
        """The key by the content of the request."""
        return embedding_key(self.model, self.text)

    def texts(self) -> Iterator[str]:
        """Everything that a person wrote."""
        yield from (self.model, self.text)


Record = ChatRecord | EmbeddingRecord
_ADAPTER: TypeAdapter[Record] = TypeAdapter(Record)


def chat_record(request: Request, model: str, **answer: Any) -> ChatRecord:
    """Return the record of an answer: everything that decided it, and what it was.

    Args:
        request: that was answered.
        model: that answered.
        answer: the other fields of `ChatRecord`, by name.
    """
    canonical = request.canonical(model, PARAMETERS)
    return ChatRecord.model_validate({"key": digest(canonical), **canonical, **answer})


def embedding_key(model: str, text: str) -> str:
    """Return the name of a text's vector.

    Args:
        model: that the vector is of.
        text: any.
    """
    return digest({"model": model, "prompt": EMBED, "text": text})


def line(record: Record) -> str:
    """Return the record as it stands in a file: keys sorted, a checksum over all of it."""
    content = record.model_dump(mode="json", by_alias=True)
    return _dump({**content, "checksum": digest(content)})


def parse_line(text: str) -> Record:
    """Return the record of a line.

    Raises:
        ValueError: it is no record, or not exactly what was written; the text says why.
    """
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
        content.pop("checksum", None)
        record = _ADAPTER.validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if record.key != record.expected_key():
        raise ValueError("its key is not that of its request")
    if line(record) != text:
        raise ValueError("its checksum is not that of its content")
    return record


def _dump(content: dict[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
