"""One thing that was looked at before a run, and what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pytest_sae.errors import PytestSAEError

State = Literal["ok", "bad", "note"]


@dataclass(frozen=True)
class Checked:
    """One thing that was looked at.

    Args:
        what: its name.
        said: what there is, or what is wrong with it and what to do.
        state: whether a run can use it; a note says what will not be measured, and is not wrong.
    """

    what: str
    said: str
    state: State = "ok"

    @property
    def good(self) -> bool:
        """Whether a run can go on with it."""
        return self.state != "bad"

    @property
    def line(self) -> str:
        """What is printed."""
        return f"{self.state:<4} {self.what}: {self.said}"


def checked(what: str, look: Callable[[], str]) -> Checked:
    """Return what was found by looking, or why looking failed.

    Args:
        what: the name of the thing.
        look: says what there is.
    """
    try:
        return Checked(what, look())
    except PytestSAEError as error:
        return Checked(what, str(error), "bad")
    except OSError as error:
        return Checked(what, f"cannot be read: {error.strerror}", "bad")
