"""Files with damaged bytes, as disks, transfers and hands damage them."""

from __future__ import annotations

import random

TOKENS = [
    b"null",
    b"NaN",
    b"-1",
    b"1e999",
    b"true",
    b'""',
    b"[]",
    b"{}",
    b'"pass"',
    b'"fail"',
    b"0",
]


def mutated(raw: bytes, draw: random.Random) -> bytes:
    """Damage a file at one place, or two, as disks, transfers and hands do."""
    for _ in range(draw.choice((1, 1, 2))):
        place = draw.randrange(len(raw))
        end = min(len(raw), place + draw.choice((1, 1, 3, 40)))
        kind = draw.randrange(6)
        if kind == 0:
            raw = raw[:place] + bytes([raw[place] ^ 1 << draw.randrange(8)]) + raw[place + 1 :]
        elif kind == 1:
            raw = raw[:place] + raw[end:]
        elif kind == 2:
            raw = raw[:place] + raw[place:end] * 2 + raw[end:]
        elif kind == 3:
            raw = raw[: max(1, place)]
        else:
            raw = with_another_token(raw, place, draw)
    return raw


def with_another_token(raw: bytes, place: int, draw: random.Random) -> bytes:
    """Put another value in the place of one, so that it often is JSON still."""
    # With a space behind it or without, as different files of JSON have it.
    start = raw.find(b'":', place)
    end = min((at for at in (raw.find(mark, start) for mark in b",\n}]") if at > 0), default=-1)
    if start < 0 or end < 0:
        return raw
    return raw[: start + 2] + b" " + draw.choice(TOKENS) + raw[end:]
