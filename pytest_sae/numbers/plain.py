"""Numbers as the gate takes and tells them."""

from __future__ import annotations

import math
from numbers import Real

#: Standard errors on both sides of a value within which 95 % of the intervals hold the truth.
INTERVAL = 1.959963984540054


def as_number(value: object) -> float | None:
    """Return a finite float, None for everything that is none (NaN, inf, bool, text, None).

    >>> as_number(3), as_number(float("nan")), as_number(True), as_number("3")
    (3.0, None, None, None)
    """
    if value is True or value is False or not isinstance(value, Real):
        return None
    try:
        result = float(value)
    except (OverflowError, ValueError, TypeError):
        return None
    return result if math.isfinite(result) else None


def number(value: float) -> str:
    """Return a number for people: four decimals, or four digits where those say nothing.

    >>> number(0.5), number(0.00012), number(1234567.0)
    ('0.5000', '0.00012', '1.235e+06')
    """
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.4g}"
