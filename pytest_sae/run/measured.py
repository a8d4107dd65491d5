"""What a family measured, looked up by key; and how an exception in measuring becomes a message."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import pytest

from pytest_sae.errors import MeasurementError, PytestSAEError

if TYPE_CHECKING:
    from pytest_sae.records.measurement import Measurement

T = TypeVar("T")


class NotMeasuredError(KeyError):
    """A key that the family did not measure; the message lists those it did."""

    def __str__(self) -> str:
        return str(self.args[0])


class Measured:
    """The measurements of one family on one SAE, by key: `scr["scr:n=20"]`."""

    def __init__(self, family: str, measurements: Iterable[Measurement]) -> None:
        self._family = family
        self._by_key = {each.key: each for each in measurements}

    def __getitem__(self, key: str) -> Measurement:
        """Return a measurement.

        Raises:
            NotMeasuredError: the family has no such metric or setting; lists those it has.
        """
        if key not in self._by_key:
            listed = ", ".join(self._by_key) or "nothing"
            raise NotMeasuredError(f"{key} was not measured. {self._family} measured {listed}.")
        return self._by_key[key]

    def keys(self) -> list[str]:
        """Return the keys that were measured, in the order of measuring."""
        return list(self._by_key)


def guarded(what: str, make: Callable[[], T]) -> T:
    """Return make(); an exception becomes a failure that is text alone.

    Session fixtures cache their exception, and with it every frame and tensor below it: the GPU
    would stay full for the rest of the run. So nothing but a message leaves this function.

    Args:
        what: what is being done, for the message.
        make: does it.
    """
    message = None
    try:
        return make()
    except PytestSAEError as error:
        message = str(error)
    except Exception as error:
        message = _told(what, error)
        traceback.clear_frames(error.__traceback__)
    _free()
    # Outside the except block, so that no exception hangs on as __context__.
    raise pytest.fail.Exception(message, pytrace=False)


def _told(what: str, error: Exception) -> str:
    # Without the two frames that every measurement begins with: this file and the fixture.
    last = "".join(traceback.format_tb(error.__traceback__)[2:][-6:])
    kind = "" if isinstance(error, MeasurementError) else f"{type(error).__name__}: "
    return f"{what} failed: {kind}{error}\n\n{last}"


def _free() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
