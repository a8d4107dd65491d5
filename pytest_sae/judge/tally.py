"""What asking has cost: counted per distinct request, so that a replay counts the same."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence

from pytest_sae.judge.base import Answer, Spent
from pytest_sae.judge.recorded_answer import ChatRecord


class Tally:
    """Counts answers; many threads may read it while one adds.

    Args:
        is_old: whether the record with a key was there before this run.
    """

    def __init__(self, is_old: Callable[[str], bool]) -> None:
        self._is_old = is_old
        self._records: dict[str, ChatRecord] = {}
        self._repaired: set[str] = set()
        self._abstained: set[str] = set()
        self._lock = threading.Lock()

    def count(self, key: str, answer: Answer, records: Sequence[ChatRecord]) -> None:
        """Count the answer to the request with this key, once however often it is given."""
        with self._lock:
            self._records.update({record.key: record for record in records})
            if len(records) > 1:
                self._repaired.add(key)
            if answer.value is None:
                self._abstained.add(key)

    def spent(self) -> Spent:
        """Sum up; the sum does not depend on the order in which answers came."""
        with self._lock:
            records = list(self._records.values())
            costs = [record.cost for record in records]
            known = [cost for cost in costs if cost is not None]
            usages = [record.usage for record in records if record.usage is not None]
            return Spent(
                requests=len(records),
                repaired=len(self._repaired),
                abstained=len(self._abstained),
                retries=sum(record.retries for record in records),
                replayed=sum(map(self._is_old, self._records)),
                input_tokens=sum(usage.input_tokens for usage in usages),
                output_tokens=sum(usage.output_tokens for usage in usages),
                cost=math.fsum(known) if len(known) == len(costs) else None,
            )
