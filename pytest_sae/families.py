"""The families of metrics: how a session measures each, and what it needs for that.

A new family is one entry here, one fixture in `plugin.py` and one file in `evals/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_sae.measure import autointerp, erasure, judge_calibration, reconstruction, shift
from pytest_sae.measure.autointerp import AutointerpSizes

if TYPE_CHECKING:
    from pytest_sae.session import EvalSession, LoadedSAE
    from pytest_sae.stats import Estimate, Param

Measure = Callable[["EvalSession", "LoadedSAE"], "list[Estimate]"]
Names = Sequence[tuple[str, Mapping[str, "Param"]]]


@dataclass(frozen=True)
class Family:
    """A family of metrics, measured together.

    Args:
        measure: measures all of it on one SAE.
        code: version of what computes it: raise it when the same inputs give other numbers.
        on_tasks: whether it rests on labelled tasks, which a recording alone does not have.
        judged: all that it measures, where a judge has a say in it; empty where none has.
        shown: whether texts are shown to the judge.
    """

    measure: Measure
    code: str = "1"
    on_tasks: bool = False
    judged: Names = ()
    shown: bool = False


def _core(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    corpus = session.corpus("reconstruction")
    return reconstruction.measure(session.latents(sae), corpus, session.options.seed)


def _scr(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    fits = session.suite.probe_fits
    return erasure.measure_scr(session.latents(sae), session.tasks, session.options.seed, fits)


def _tpp(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    fits = session.suite.probe_fits
    return erasure.measure_tpp(session.latents(sae), session.tasks, session.options.seed, fits)


def _judge_calibration(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    return session.judging.calibration(session.judge(sae))


def _shift(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    judge, fits = session.judge(sae), session.suite.probe_fits
    return shift.measure(session.latents(sae), session.tasks, judge, session.options.seed, fits)


def _autointerp(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    sizes = AutointerpSizes(latents=session.suite.explained, intervened=session.suite.steered)
    return autointerp.measure(
        session.latents(sae),
        session.corpus("interpretability").texts,
        session.judge(sae),
        session.options.seed,
        sizes,
        session.scorer,
        session.embedder,
    )


FAMILIES: dict[str, Family] = {
    "core": Family(_core),
    "scr": Family(_scr, on_tasks=True),
    "tpp": Family(_tpp, on_tasks=True),
    "judge_calibration": Family(
        _judge_calibration, judged=[(name, {}) for name in judge_calibration.NAMES]
    ),
    "shift": Family(_shift, on_tasks=True, judged=shift.NAMES, shown=True),
    "autointerp": Family(_autointerp, judged=autointerp.NAMES, shown=True),
}
