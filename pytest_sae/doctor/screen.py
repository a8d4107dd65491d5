"""What the doctor says: one screen for people, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_sae.doctor.examine import Examination
    from pytest_sae.doctor.suspicion import Measured, Tried
    from pytest_sae.doctor.weights import Look

VERSION = 1  # of the JSON; raised when a field goes or means something else
_SHOWN = 6
_WIDTH = 15


def screen(examination: Examination) -> str:
    """Return what is printed about one SAE.

    Args:
        examination: of it.
    """
    return "\n".join(_lines(examination)) + "\n"


def as_json(examinations: Sequence[Examination]) -> str:
    """Return the same as JSON, for programs.

    Args:
        examinations: of all SAEs.
    """
    saes = [_plain(asdict(each)) for each in examinations]
    return json.dumps({"doctor_version": VERSION, "saes": saes}, indent=1, allow_nan=False) + "\n"


def _lines(it: Examination) -> Iterator[str]:
    yield f"SAE {it.id}"
    for name, value in it.understood.items():
        yield _line(name, value)
    if it.measured is not None:
        yield from _figures(it.measured, it.declared_l0)
    if it.look is not None:
        yield _line("rows", _rows(it.look))
    if it.findings and it.tried:
        yield from _tried(it.tried)
    if not it.findings:
        yield _line("suspicion", f"none; {len(it.tried)} other readings explain no more")
    for finding in it.findings:
        yield _line("suspicion", f"{finding.cause}. {finding.says}")
        if finding.line:
            yield _line("", f"try: {finding.line}")


def _rows(look: Look) -> str:
    tied = "" if look.tied is None else f", encoder and decoder {look.tied:.2f} alike"
    return f"spread {look.spread:.2f} and nearness {look.nearness:.2f} of random rows'{tied}"


def _figures(measured: Measured, declared: float | None) -> Iterator[str]:
    told = "none declared" if declared is None else f"{declared:g} declared"
    yield _line("L0", f"{measured.l0:.1f} on a token, {told}")
    yield _line(
        "explained",
        f"{measured.ev:.3f} of the variance, of the first tokens {measured.first:.3f}; as many "
        f"principal components {measured.of_rank:.3f}, chosen for each token "
        f"{measured.largest:.3f}",
    )


def _tried(tried: Sequence[Tried]) -> Iterator[str]:
    best = sorted(tried, key=lambda each: each.measured.left)[:_SHOWN]
    for place, each in enumerate(best):
        name = f"tried ({len(tried)})" if place == 0 else ""
        yield _line(name, f"{each.measured.ev:7.3f}  {each.cause}: {each.what}")


def _line(name: str, value: str) -> str:
    return f"  {name:<{_WIDTH}}{value}"


def _plain(value: Any) -> Any:
    """Builtins of strict JSON: a number that is not finite is null."""
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value
