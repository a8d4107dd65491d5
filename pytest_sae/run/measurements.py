"""What a family measured, looked up by key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_sae.records.measurement import Measurement


class NotMeasuredError(KeyError):
    """A key that the family did not measure; the message lists those it did."""

    def __str__(self) -> str:
        return str(self.args[0])


class Measurements:
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
