"""Reading an answer strictly: one JSON object of the required form, and nothing beside it.

What is wrong is said in words of our own, never in those of a library: they are part of the
repair request and so of its name in the recordings, which must outlive any library's version.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_sae.judge.form import Form

_FENCE = "```"
_SHOWN = 60
# The keyword of the schema that pydantic's word for an error is about, unless it is the type.
_KEYWORDS = {
    "missing": "required",
    "extra_forbidden": "additionalProperties",
    "enum": "enum",
    "string_pattern_mismatch": "pattern",
    "string_too_long": "maxLength",
}


class InvalidAnswerError(ValueError):
    """An answer that cannot be used; the text says why, after "it" or "at PATH"."""


def parse(text: str, form: Form) -> dict[str, Any]:
    """Return the JSON object that is the whole text, or the whole of one fenced json block.

    Args:
        text: the answer as it came.
        form: that the object must have.

    Raises:
        InvalidAnswerError: it is anything else: prose around, duplicate keys, NaN, another form.
    """
    value = _load(_unfenced(text.strip()))
    if not isinstance(value, dict):
        raise InvalidAnswerError(f"it is JSON, but no object: {_shown(value)}")
    _check(value, form)
    return value


def _unfenced(text: str) -> str:
    opening = f"{_FENCE}json"
    if text.startswith(opening) and text.endswith(_FENCE) and len(text) >= len(opening + _FENCE):
        return text[len(opening) : -len(_FENCE)]
    return text


def _load(text: str) -> Any:
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float
        )
        json.dumps(value, ensure_ascii=False).encode()
    except InvalidAnswerError:
        raise
    except UnicodeEncodeError:
        raise InvalidAnswerError("it has half of a surrogate pair in a string") from None
    except RecursionError:
        raise InvalidAnswerError("it is nested too deeply") from None
    except ValueError:
        raise InvalidAnswerError(_unreadable(text)) from None
    return value


def _unreadable(text: str) -> str:
    if not text.strip():
        return "it is empty"
    if "{" in text and "}" in text and not (text.startswith("{") and text.endswith("}")):
        return "there is text beside the JSON object"
    return "it is not valid JSON"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidAnswerError(f"the key {_shown(twice)} occurs twice in one object")
    return result


def _constant(name: str) -> Any:
    raise InvalidAnswerError(f"{name} is no JSON number")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InvalidAnswerError("a number is too large")
    return number


def _check(value: dict[str, Any], form: Form) -> None:
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(form.shape).validate_python(value)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        found = [_violation(each["type"], each["loc"], value, form) for each in errors]
        path, problem = min(found)
        raise InvalidAnswerError(f"at {path} {problem}" if path else problem) from None


def _violation(kind: str, place: Sequence[int | str], value: Any, form: Form) -> tuple[str, str]:
    """Where and what: pydantic says only which keyword is broken, the words are made here."""
    keyword = _KEYWORDS.get(kind, "type")
    if keyword in ("required", "additionalProperties"):
        place = place[:-1]  # the object's, not the key's
    schema: Any = reduce(lambda outer, key: outer["properties"][key], place, form.schema)
    instance = reduce(lambda outer, key: outer[key], place, value)
    return ".".join(str(step)[:_SHOWN] for step in place), _told(keyword, schema, instance)


def _told(keyword: str, schema: Any, instance: Any) -> str:
    operand = schema[keyword]
    match keyword:
        case "required":
            missing = [name for name in operand if name not in instance]
            return "there is no key " + ", ".join(map(_shown, missing))
        case "additionalProperties":
            surplus = sorted(name for name in instance if name not in schema["properties"])
            return "there is the unknown key " + ", ".join(map(_shown, surplus[:3]))
        case "type":
            return f"{_shown(instance)} is not of type {_shown(operand)}"
        case "enum":
            return f"{_shown(instance)} is not one of {_shown(operand)}"
        case _:
            return f"{_shown(instance)} breaks {keyword} {_shown(operand)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
