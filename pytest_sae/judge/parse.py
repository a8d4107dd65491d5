"""Reading an answer strictly: one JSON object of the required form, and nothing beside it.

What is wrong is said in words of our own, never in those of a library: they are part of the
repair request and so of its name in the recordings, which must outlive any library's version.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

_FENCE = "```"
_SHOWN = 60


class InvalidAnswerError(ValueError):
    """An answer that cannot be used; the text says why, after "it" or "at PATH"."""


def parse(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON object that is the whole text, or the whole of one fenced json block.

    Args:
        text: the answer as it came.
        schema: JSON Schema (2020-12) that the object must satisfy.

    Raises:
        InvalidAnswerError: it is anything else: prose around, duplicate keys, NaN, another form.
    """
    value = _load(_unfenced(text.strip()))
    if not isinstance(value, dict):
        raise InvalidAnswerError(f"it is JSON, but no object: {_shown(value)}")
    _check(value, schema)
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


def _check(value: dict[str, Any], schema: Mapping[str, Any]) -> None:
    from jsonschema import Draft202012Validator

    found = [_violation(error) for error in Draft202012Validator(schema).iter_errors(value)]
    if found:
        path, problem = min(found)
        raise InvalidAnswerError(f"at {path} {problem}" if path else problem)


def _violation(error: Any) -> tuple[str, str]:
    """Where and what: from the keyword and its operand, which no version of jsonschema changes."""
    path = ".".join(str(step)[:_SHOWN] for step in error.absolute_path)
    operand, instance = error.validator_value, error.instance
    match error.validator:
        case "required":
            missing = [name for name in operand if name not in instance]
            return path, "there is no key " + ", ".join(map(_shown, missing))
        case "additionalProperties":
            known = error.schema.get("properties", {})
            surplus = sorted(name for name in instance if name not in known)
            return path, "there is the unknown key " + ", ".join(map(_shown, surplus[:3]))
        case "type":
            return path, f"{_shown(instance)} is not of type {_shown(operand)}"
        case "enum":
            return path, f"{_shown(instance)} is not one of {_shown(operand)}"
        case keyword:
            return path, f"{_shown(instance)} breaks {keyword} {_shown(operand)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
