"""What was read of a dictionary, and what the user says about it: the input of every family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.errors import DictionaryError, suggest

if TYPE_CHECKING:
    from torch import Tensor

#: Keys of the configuration that the user takes for harmless, joined by `+`.
IGNORE = "ignore"
#: Settings of every family: where it reads and writes, what model it belongs to, and what of its
#: configuration does not count.
COMMON = ("model", "site", "site_out", IGNORE)


@dataclass(frozen=True)
class Content:
    """A dictionary's files, read safely and not yet understood.

    Args:
        source: what messages call it, as the user wrote it.
        weights: the weights file (or the first of several).
        config: the parsed configuration with the plain values that lie among the weights; empty
            where there is none.
        tensors: by name, on the CPU, as stored; nested names are joined by dots.
        settings: from `--sae=family,name=value:path`.
        beside: other files of its layout that were there, parsed, by their names in it.
    """

    source: str
    weights: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    settings: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def check_settings(content: Content, family: str, known: Sequence[str] = ()) -> None:
    """Refuse settings that a family does not have.

    Args:
        content: with its settings.
        family: what the message calls it.
        known: the family's own settings; those in `COMMON` are always allowed.

    Raises:
        DictionaryError: an unknown setting; the message lists those that there are.
    """
    valid = (*known, *COMMON)
    for name in content.settings:
        if name not in valid:
            raise DictionaryError(
                f"{content.source} is given the setting {name!r}, which the family {family} does "
                f"not have.{suggest(name, valid)} Expected {', '.join(valid)}."
            )


def ignored(content: Content) -> set[str]:
    """Return the keys of its configuration that the user takes for harmless."""
    return {name.strip() for name in content.settings.get(IGNORE, "").split("+")}


def whole_setting(content: Content, name: str, most: int | None = None) -> int | None:
    """Return a setting that is a whole number from 1 to `most`, None where it is not given.

    Args:
        content: with the user's settings.
        name: of the setting.
        most: largest value that is allowed, None for any.

    Raises:
        DictionaryError: no whole number, or out of range.
    """
    text = content.settings.get(name)
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) < 19:
        value = int(text)
        if value >= 1 and (most is None or value <= most):
            return value
    limit = "" if most is None else f" to {most}"
    raise DictionaryError(
        f"{content.source} is given {name}={text}. Expected a whole number from 1{limit}."
    )


def switch_setting(content: Content, name: str) -> bool | None:
    """Return a setting that is true or false, None where it is not given.

    Args:
        content: with the user's settings.
        name: of the setting.

    Raises:
        DictionaryError: neither.
    """
    text = content.settings.get(name)
    if text is None:
        return None
    if text.lower() in ("true", "1", "yes"):
        return True
    if text.lower() in ("false", "0", "no"):
        return False
    raise DictionaryError(f"{content.source} is given {name}={text}. Expected true or false.")


def declared(
    content: Content,
    family: str,
    *,
    model: object = None,
    revision: object = None,
    hook_in: object = None,
    hook_out: object = None,
    context_size: object = None,
    prepend_bos: object = None,
    k: int | None = None,
    suggestion: str = "",
) -> DictionaryInfo:
    """Return what is declared about a dictionary; the settings model, site, site_out come first.

    Args:
        content: with its settings.
        family: such as `sae_lens.topk`.
        model: as the configuration has it, None if it says nothing; so are all that follow.
        revision: branch, tag or commit of that model; a path on disk has none.
        hook_in: hook name or module path that it reads.
        hook_out: what its reconstruction replaces, if that is not hook_in.
        context_size: tokens per text in training; what is no positive whole number is ignored.
        prepend_bos: whether texts began with BOS; what is no boolean is ignored.
        k: number of active latents.
        suggestion: settings that path or README suggest, for a message.

    Raises:
        DictionaryError: a model or hook that is no text.
    """
    settings = content.settings
    reads = settings.get("site") or _text(content, "hook_name", hook_in)
    writes = settings.get("site_out") or _text(content, "hook_name_out", hook_out)
    return DictionaryInfo(
        source=content.source,
        family=family,
        model=settings.get("model") or _pinned(content, model, revision),
        hook_in=reads,
        hook_out=writes or reads,
        context_size=_size(context_size),
        prepend_bos=prepend_bos if isinstance(prepend_bos, bool) else None,
        k=k,
        suggestion=suggestion,
    )


def _pinned(content: Content, model: object, revision: object) -> str | None:
    """The model with its revision, as models are named: owner/model@revision."""
    name, which = _text(content, "model_name", model), _text(content, "revision", revision)
    if name is None or which is None or name.startswith(("/", ".", "~")):
        return name
    stated = name.partition("@")[2]
    if stated not in ("", which):
        raise DictionaryError(
            f"{content.source} declares the model {name} and its revision {which}. Expected one "
            "revision: say model=owner/model@revision"
        )
    return name if stated else f"{name}@{which}"


def _size(value: object) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if isinstance(value, int) and whole else None


def _text(content: Content, name: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    raise DictionaryError(
        f"{content.source}: {name} is {value!r}. Expected a text: correct the configuration."
    )
