"""What the id of a test says: its SAE, then its metric and setting, `test_scr[topk-scr:n:20]`."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_sae.numbers.keys import key_of_id

#: Of tests that are made one for each metric and setting.
MARKER = "sae_metric"


def sae_of_nodeid(nodeid: str, sae_ids: Iterable[str]) -> str | None:
    """Return the SAE that a test id begins with, None if it begins with none.

    Args:
        nodeid: pytest's id of a test; the SAE comes first in its brackets.
        sae_ids: those that it may be; the longest that fits is taken.
    """
    params = _params(nodeid)
    longest_first = sorted(sae_ids, key=len, reverse=True)
    return next((s for s in longest_first if params == s or params.startswith(f"{s}-")), None)


def key_of_nodeid(nodeid: str, sae: str) -> str | None:
    """Return the metric key that follows the SAE in a test id, None if no metric does.

    Args:
        nodeid: pytest's id of a test.
        sae: id of the SAE that comes first in its brackets.
    """
    from pytest_sae.families.registry import known

    key = key_of_id(_params(nodeid)[len(sae) + 1 :])
    return key if key and key.partition(":")[0] in known() else None


def _params(nodeid: str) -> str:
    return nodeid.partition("[")[2].rpartition("]")[0]
