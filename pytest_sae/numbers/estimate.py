"""Estimates with their uncertainty: the form in which every metric returns its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["ok", "undefined", "not_applicable", "no_data", "unable"]
Param = str | int | float | bool

#: Key of an estimate's details: tasks that could not be used, each with the reason.
LEFT_OUT = "unusable_tasks"


@dataclass(frozen=True)
class Estimate:
    """One number of one metric at one setting, not yet tied to a dictionary.

    Args:
        metric: a name of `metrics.registry`.
        params: the setting it was measured at, such as {"n": 20}; empty if there is none.
        value: the estimate, None unless status is `ok`.
        se: standard error over the independent unit, None where it has none.
        ci: 95 % interval (low, high), None where it has none.
        n: how many units it rests on, by kind, such as {"texts": 400, "tasks": 4}.
        seeds: how many random fits it averages over.
        status: `ok`, `undefined` (could not be computed), `not_applicable` (by declaration),
            `no_data` (the run has no texts for it) or `unable` (the model cannot do the task).
        reason: why it is not `ok`; empty otherwise.
        details: plain builtins for the report (curves, per-task values).
        influence: what each independent unit (each text, then each probe fit) adds to the error of
            the value; the root of its sum of squares is the standard error, and that of the
            differences of two is the standard error of their paired difference. Empty where the
            units of two dictionaries are not the same, such as latents.
    """

    metric: str
    value: float | None
    params: Mapping[str, Param] = field(default_factory=dict)
    se: float | None = None
    ci: tuple[float, float] | None = None
    n: Mapping[str, int] = field(default_factory=dict)
    seeds: int = 1
    status: Status = "ok"
    reason: str = ""
    details: Mapping[str, object] = field(default_factory=dict)
    influence: Sequence[float] = ()


def undefined(
    metric: str,
    reason: str,
    params: Mapping[str, Param] | None = None,
    details: Mapping[str, object] | None = None,
) -> Estimate:
    """Return the estimate of something that could not be computed, with the reason.

    Args:
        metric: its name.
        reason: why, in a sentence for the report.
        params: setting of the estimate.
        details: for the report.

    Returns:
        An estimate without a value, of status `undefined`; the gate never takes it for passed.

    >>> found = undefined("mse", "the stream has no valid token")
    >>> found.value is None, found.status, found.reason
    (True, 'undefined', 'the stream has no valid token')
    """
    return Estimate(
        metric, None, params or {}, status="undefined", reason=reason, details=details or {}
    )


def not_applicable(metric: str, reason: str, params: Mapping[str, Param] | None = None) -> Estimate:
    """Return the estimate of something that does not exist here by declaration.

    Args:
        metric: its name.
        reason: why, in a sentence for the report.
        params: setting of the estimate.

    Returns:
        An estimate without a value, of status `not_applicable`.

    >>> not_applicable("encoder_decoder_cosine", "the dictionary has no encoder rows").status
    'not_applicable'
    """
    return Estimate(metric, None, params or {}, status="not_applicable", reason=reason)


def no_data(metric: str, reason: str, params: Mapping[str, Param] | None = None) -> Estimate:
    """Return the estimate of something that the run has no data for, such as a task file's table.

    Whether that is red is for the gate's rule to say (`optional`).

    Args:
        metric: its name.
        reason: what is missing, in a sentence for the report.
        params: setting of the estimate.

    Returns:
        An estimate without a value, of status `no_data`.

    >>> no_data("ravel", "the task file has no [[ravel]] table").status
    'no_data'
    """
    return Estimate(metric, None, params or {}, status="no_data", reason=reason)


def unable(
    metric: str,
    reason: str,
    params: Mapping[str, Param] | None = None,
    details: Mapping[str, object] | None = None,
) -> Estimate:
    """Return the estimate of something that no dictionary has, for the model cannot do the task.

    It says nothing of the dictionary, and is red only where a rule has `optional = false`.

    Args:
        metric: its name.
        reason: what the model does and what is needed, in a sentence for the report.
        params: setting of the estimate.
        details: for the report.

    Returns:
        An estimate without a value, of status `unable`.

    >>> unable("ravel", "3 of 60 prompts are answered rightly").status
    'unable'
    """
    return Estimate(
        metric, None, params or {}, status="unable", reason=reason, details=details or {}
    )
