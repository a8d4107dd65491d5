"""How a metric at a setting is spelled: as a key (`scr:n=20`) and inside a test id (`scr:n:20`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_sae.numbers.estimate import Param


def metric_key(metric: str, params: Mapping[str, Param]) -> str:
    """Return `metric:name=value,...` with the parameters sorted by name.

    Args:
        metric: its name.
        params: the setting by name; empty for none.

    Returns:
        The key, `metric` alone without parameters.

    >>> metric_key("scr", {"task": "professor/nurse", "n": 20})
    'scr:n=20,task=professor/nurse'
    """
    if not params:
        return metric
    return metric + ":" + ",".join(f"{name}={params[name]}" for name in sorted(params))


def parse_key(key: str) -> tuple[str, dict[str, Param]]:
    """Return metric and parameters of a key, numbers as numbers.

    Raises:
        ValueError: the key is not spelled `metric` or `metric:name=value,...`.

    >>> parse_key("scr:n=20,task=professor/nurse")
    ('scr', {'n': 20, 'task': 'professor/nurse'})
    """
    metric, colon, rest = key.partition(":")
    pairs = [pair.partition("=") for pair in rest.split(",")] if colon else []
    if not metric or any(not (name and equal and value) for name, equal, value in pairs):
        raise ValueError(f"{key!r} is not spelled like 'scr' or 'scr:n=20,task=name'")
    return metric, {name: _param(value) for name, _, value in pairs}


def _param(text: str) -> Param:
    if text in ("True", "False"):
        return text == "True"
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?\d+\.\d+", text) else text


def fits(name: str, metric: str, params: Mapping[str, Param]) -> bool:
    """Return whether a rule of this name is about a metric at a setting.

    >>> fits("scr:n=20", "scr", {"n": 20, "direction": "spurious"}), fits("scr", "scr.margin", {})
    (True, False)

    Args:
        name: a key, whose parameters are those that matter.
        metric: a metric's name.
        params: its setting.

    Returns:
        True where metric and named parameters are the same.
    """
    own, wanted = parse_key(name)
    return own == metric and all(
        key in params and str(params[key]) == str(value) for key, value in wanted.items()
    )


def id_of_key(key: str) -> str:
    """Return the key as it stands in a test id: pytest's -k takes neither `=` nor `,`.

    >>> id_of_key("scr:n=20,task=professor/nurse")
    'scr:n:20+task:professor_nurse'
    """
    metric, params = parse_key(key)
    pairs = (
        f"{name}:{re.sub(r'[^A-Za-z0-9._]', '_', str(params[name]))}" for name in sorted(params)
    )
    return ":".join([metric, "+".join(pairs)]) if params else metric


def key_of_id(text: str) -> str | None:
    """Return the key whose test id begins text (other parameters may follow), None if none does.

    >>> key_of_id("scr:n:20-sae")
    'scr:n=20'
    """
    found = re.match(r"([A-Za-z0-9_.]+)(:[A-Za-z0-9_.:+]+)?(-|$)", text)
    if not found:
        return None
    metric, rest = found[1], (found[2] or "")[1:]
    pairs = dict(pair.partition(":")[::2] for pair in rest.split("+")) if rest else {}
    return metric_key(metric, {name: _param(value) for name, value in pairs.items()})
