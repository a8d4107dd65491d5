"""How a context is written for a judge, and how words and levels are read back from it.

A marked token reads `<<tok>>(7)`, its level from 1 to 10 behind it, or `<<tok>>` alone. White space
around a token stays outside the marks. A literal `<<` or `>>` is written `< <`, `> >`, so that
every mark is one of ours, whatever the text says.

    plain(context) -> str
    numbered(context, peak) -> str
    marked(context, marks) -> str
    unmark(text) -> (words, levels)
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from pytest_sae.activations.contexts import Context

LEVELS = 10
_ROUNDING = 1e-9  # 3 * 0.1 is level 3, not 4
_MARK = re.compile(r"<<(.+?)>>(?:\((\d{1,2})\))?", re.DOTALL)
_DOUBLED = re.compile(r"<(?=<)|>(?=>)")
_WORD = re.compile(r"(?:[^\W_]|['\u2019])+|\S")


def plain(context: Context) -> str:
    """Return the window's text without marks."""
    return _escaped(context.text)


def numbered(context: Context, peak: float) -> str:
    """Return the window with every active token marked by its level.

    Args:
        context: the window.
        peak: largest absolute activation among the contexts of the request; it is level 10.
    """
    levels = [level(each, peak) for each in context.activations]
    return _written(context, [f"({each})" if each else None for each in levels])


def marked(context: Context, marks: Sequence[bool]) -> str:
    """Return the window with the given tokens marked, without numbers.

    Args:
        context: the window.
        marks: (token,) whether a token is marked.
    """
    return _written(context, ["" if each else None for each in marks])


def level(activation: float, peak: float) -> int:
    """Return |activation| in tenths of the peak, rounded up: 0 (not active) to 10.

    Args:
        activation: of a token, of either sign.
        peak: what 10 stands for, 0 or more.
    """
    if not activation or not peak:
        return 0
    return math.ceil(min(1.0, abs(activation) / peak) * LEVELS - _ROUNDING)


def unmark(text: str) -> tuple[list[str], list[int]]:
    """Return the words of a written context and the level of each.

    A word is a maximal run of letters, digits and apostrophes, marks aside, or any other single
    character that is no white space. Its level is the largest of its parts: 0 where it isn't
    marked, 1 for a mark without a number.
    """
    characters, levels = _unmarked(text)
    found = list(_WORD.finditer(characters))
    return [each.group() for each in found], [max(levels[slice(*each.span())]) for each in found]


def _written(context: Context, numbers: Sequence[str | None]) -> str:
    parts: list[str] = []
    for piece, number in zip(context.pieces, numbers, strict=True):
        token = piece.strip()
        if number is None or not token:
            parts.append(_escaped(piece))
        else:
            before, after = piece.split(token, 1)
            parts += [before, "<<", _escaped(token), f">>{number}", after]
    return _joined(parts)


def _escaped(text: str) -> str:
    return _DOUBLED.sub(r"\g<0> ", text)


def _joined(parts: Iterable[str]) -> str:
    """Join, with a space wherever two parts would make or change a mark."""
    joined: list[str] = []
    for part in filter(None, parts):
        if joined and _collide(joined[-1], part):
            joined.append(" ")
        joined.append(part)
    return "".join(joined)


def _collide(left: str, right: str) -> bool:
    doubled = left[-1] in "<>" and left[-1] == right[0]
    return doubled or (left.endswith(">>") and right[0] == "(")


def _unmarked(text: str) -> tuple[str, list[int]]:
    """Return the characters without marks, and the level of each."""
    characters: list[str] = []
    levels: list[int] = []
    end = 0
    for mark in _MARK.finditer(text):
        for part, mark_level in ((text[end : mark.start()], 0), (mark[1], int(mark[2] or 1))):
            characters.append(part)
            levels += [mark_level] * len(part)
        end = mark.end()
    rest = text[end:]
    return "".join(characters) + rest, levels + [0] * len(rest)
