"""The SAEs of a run, one line each: its verdict, and the few figures that decide."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pytest_sae.families.registry import known, place_of, spec_of
from pytest_sae.numbers.metric_spec import MetricSpec
from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.standing import Standing, standings
from pytest_sae.records.verdicts import GREEN

_NAME = 24  # letters of an SAE's name that are shown
_GAP = "  "
_COUNTED = {"pass": "{judged} of {judged}", "ungated": "", "partial": "{judged} judged"}


@dataclass(frozen=True)
class Line:
    """A line of the overview.

    Args:
        text: as wide as the screen allows, aligned with the others.
        standing: of the SAE that it is about, None for a line of the header.
    """

    text: str
    standing: Standing | None = None


def overview(report: Report, width: int, unicode: bool = True) -> list[Line]:
    """Return a header and a line for each SAE, none wider than the screen.

    Args:
        report: as in report.json.
        width: of the screen, in letters.
        unicode: whether it can show more than ASCII.
    """
    found = standings(report)
    told = _column(["verdict", *(_told(each, unicode) for each in found)], str.ljust)
    room = max(8, min(_NAME, width - len(told[-1]) - len(_GAP)))
    names = _column(["SAE", *(_short(each.sae, room, unicode) for each in found)], str.ljust)
    columns, left = [names, told], width - len(names[-1]) - len(told[-1]) - len(_GAP)
    for key in deciding(report.measurements):
        column = _figures(key, found, report.measurements, unicode)
        if len(column[-1]) + len(_GAP) > left:
            break
        columns.append(column)
        left -= len(column[-1]) + len(_GAP)
    return _lines(columns, found)


def deciding(rows: Iterable[Row]) -> list[str]:
    """Return the keys of the figures that decide, the most telling first.

    Those that sum a family up and gate, with the budget that all of them are read beside (L0); then
    what else gates; where nothing does, what sums a family up.

    Args:
        rows: of any SAEs.
    """
    ranks: dict[str, tuple[int, int]] = {}
    rows = [*rows]
    for row in rows:
        if row.value is not None:
            rank = _rank(row), place_of(row.metric)
            ranks[row.key] = min(rank, ranks.get(row.key, rank))
    last = 1 if any(row.verdict != "ungated" for row in rows) else 3
    return sorted((key for key in ranks if ranks[key][0] <= last), key=ranks.__getitem__)


def _rank(row: Row) -> int:
    headline, gated = spec(row).headline, row.verdict != "ungated"
    if headline and (gated or row.direction == "none"):
        return 0
    return 1 if gated else 2 if headline else 3


def spec(row: Row) -> MetricSpec:
    """Return what the metric of a row means, also of one that is not registered here."""
    if row.metric in known():
        return spec_of(row.metric)
    return MetricSpec(row.metric, row.direction, row.unit, *row.range, title="")


def short(value: float) -> str:
    """Return a number in four digits: `0.9312`, `32.1`, `-1.502`."""
    return f"{value:.4g}"


def mark(standing: Standing, unicode: bool = True) -> str:
    """Return a sign for a verdict, which tells it without a colour.

    Args:
        standing: of an SAE.
        unicode: whether the terminal shows more than ASCII.

    Returns:
        One character.
    """
    good, bad, open_ = ("✓", "✗", "·") if unicode else ("+", "!", "-")
    if standing.red or standing.verdict in ("fail", "incomplete"):
        return bad
    return good if standing.verdict == "pass" else open_


def _told(standing: Standing, unicode: bool) -> str:
    counted = _COUNTED.get(standing.verdict, "{red} of {judged} red")
    if standing.verdict == "incomplete" and not standing.red:
        counted = "{left} not judged"
    text = counted.format(red=len(standing.red), judged=standing.judged, left=len(standing.left))
    return f"{mark(standing, unicode)} {standing.verdict} {text}".rstrip()


def _short(name: str, room: int, unicode: bool) -> str:
    if len(name) <= room:
        return name
    dots = "…" if unicode else "..."
    kept = room - len(dots)
    # Checkpoints of one run begin alike, and end in what tells them apart.
    return name[: kept // 3] + dots + name[-(kept - kept // 3) :]


def _figures(key: str, found: Sequence[Standing], rows: Sequence[Row], unicode: bool) -> list[str]:
    """A column: the words of the key one below the other, then the values; red ones are marked."""
    own = {row.sae: row for row in rows if row.key == key}
    head = [part for part in re.split(r"[_.:,]", key) if part]
    bad = "✗" if unicode else "!"
    cells = ["-" if row is None else _cell(row, bad) for row in (own.get(s.sae) for s in found)]
    return _column([*_stacked(head, max(map(len, cells))), *cells], str.rjust)


def _cell(row: Row, bad: str) -> str:
    shown = "-" if row.value is None else short(row.value)
    return f"{bad}{shown}" if row.red else shown


def _stacked(words: Sequence[str], width: int) -> list[str]:
    """Words in as few lines as their longest, or the column, is wide."""
    width, lines = max(width, *map(len, words)), [""]
    for word in words:
        joined = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], joined] if len(joined) <= width else [*lines, word]
    return lines


def _column(cells: Sequence[str], aligned: Callable[[str, int], str]) -> list[str]:
    width = max(map(len, cells))
    return [aligned(cell, width) for cell in cells]


def _lines(columns: Sequence[Sequence[str]], found: Sequence[Standing]) -> list[Line]:
    height = max(map(len, columns))
    # Headers stand on the values: shorter ones begin lower.
    padded = [[" " * len(column[0])] * (height - len(column)) + [*column] for column in columns]
    texts = [_GAP.join(cells).rstrip() for cells in zip(*padded, strict=True)]
    heads = height - len(found)
    about: list[Standing | None] = [None] * heads
    return [Line(text, each) for text, each in zip(texts, [*about, *found], strict=True)]


def green(standing: Standing) -> bool:
    """Whether nothing of an SAE is red, as far as it was looked at."""
    return standing.verdict in (*GREEN, "partial")
