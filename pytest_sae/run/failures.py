"""How an exception in measuring becomes the message of a failed test."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Callable
from typing import TypeVar

import pytest

from pytest_sae.errors import MeasurementError, PytestSAEError
from pytest_sae.records.builtin import writable

T = TypeVar("T")


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
    raise pytest.fail.Exception(writable(str(message)), pytrace=False)


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
