"""The families of metrics: how a session measures each, and what it needs for that.

A new family is one entry here, one fixture in `plugin.py` and one file in `evals/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_sae.measure import (
    absorption,
    autointerp,
    concepts,
    erasure,
    frontier,
    judge_calibration,
    last_token,
    principled,
    probing,
    ravel,
    reconstruction,
    shift,
    structure,
    unlearning,
    word_deletion,
)
from pytest_sae.measure.autointerp import AutointerpSizes

if TYPE_CHECKING:
    from pytest_sae.numbers.estimate import Estimate, Param
    from pytest_sae.session.session import EvalSession, LoadedSAE

Measure = Callable[["EvalSession", "LoadedSAE"], "list[Estimate]"]
Names = Sequence[tuple[str, Mapping[str, "Param"]]]


def _corpus_texts(session: EvalSession) -> Sequence[str]:
    return session.corpus("controls").texts


def _task_texts(session: EvalSession) -> Sequence[str]:
    return erasure.erasure_texts(session.tasks)


@dataclass(frozen=True)
class Family:
    """A family of metrics, measured together.

    Args:
        measure: measures all of it on one SAE.
        code: version of what computes it: raise it when the same inputs give other numbers.
        on_tasks: whether it rests on labelled tasks, which a recording alone does not have.
        judged: all that it measures, where a judge has a say in it; empty where none has.
        shown: whether texts are shown to the judge.
        random: whether its values depend on the seed, so that --sae-repeats repeats it.
        cheap_controls: names of `gate.controls` on which it is measured again by default.
        more_controls: those that take long, ask the judge, or have the model read more.
        control_draws: how many of each random control are drawn; several where the figures of two
            draws differ by more than their standard errors.
        control_texts: on whose activations its controls are made: those that it reads anyway.
        deletion: measures what deleting words reaches, None where there are none to delete.
    """

    measure: Measure
    code: str = "1"
    on_tasks: bool = False
    judged: Names = ()
    shown: bool = False
    random: bool = True
    cheap_controls: tuple[str, ...] = ()
    more_controls: tuple[str, ...] = ()
    control_draws: int = 1
    control_texts: Callable[[EvalSession], Sequence[str]] = _task_texts
    deletion: Measure | None = None


def _core(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    corpus = session.corpus("reconstruction")
    return reconstruction.measure(session.latents(sae), corpus, session.options.seed)


def _scr(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    fits = session.suite.probe_fits
    return erasure.measure_scr(session.latents(sae), session.tasks, session.options.seed, fits)


def _tpp(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    fits = session.suite.probe_fits
    return erasure.measure_tpp(session.latents(sae), session.tasks, session.options.seed, fits)


def _ravel(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    tasks, seed, sizes = session.tasks, session.options.seed, session.suite.sizes
    return ravel.measure(session.latents(sae), tasks.ravel, tasks.source, seed, sizes.ravel)


def _principled(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    tasks, seed, sizes = session.tasks, session.options.seed, session.suite.sizes
    return principled.measure(
        session.latents(sae), tasks.principled, tasks.source, seed, sizes.principled
    )


def _unlearning(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    tasks, seed, sizes = session.tasks, session.options.seed, session.suite.sizes
    return unlearning.measure(
        session.latents(sae), tasks.unlearning, tasks.source, seed, sizes.unlearning
    )


def _scr_of_words(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    latents, fits = session.latents(sae), session.suite.probe_fits
    return word_deletion.measure(latents, session.tasks, session.options.seed, fits, "scr")


def _shift_of_words(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    latents, fits = session.latents(sae), session.suite.probe_fits
    return word_deletion.measure(latents, session.tasks, session.options.seed, fits, "shift")


def _sparse_probing(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    return probing.measure(session.latents(sae), session.tasks, session.options.seed)


def _last_token(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    rows = session.suite.last_token_rows
    return last_token.measure(session.latents(sae), rows, session.options.seed)


def _absorption(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    spelling, words = session.tasks.spelling, session.suite.words
    return absorption.measure(session.latents(sae), spelling, session.options.seed, words)


def _erasure(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    suite, seed = session.suite, session.options.seed
    latents = session.latents(sae)
    return frontier.measure(latents, session.tasks, seed, suite.probe_fits, suite.spliced)


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


def _structure(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    texts, seed = session.corpus("structure").texts, session.options.seed
    return structure.measure(session.latents(sae), texts, seed, session.twin)


def _concepts(session: EvalSession, sae: LoadedSAE) -> list[Estimate]:
    fits = session.suite.probe_fits
    return concepts.measure(session.latents(sae), session.tasks, session.options.seed, fits)


_WORSE = ("random", "permuted_decoder")
_DRAWS = 5  # a sixth, taken for an SAE, is 3 standard errors above them in 3 of 100 cases

FAMILIES: dict[str, Family] = {
    "core": Family(
        _core,
        random=False,
        cheap_controls=(*_WORSE, "best_k", "pca"),
        more_controls=("random_tied", "identity"),
        control_texts=_corpus_texts,
    ),
    "scr": Family(
        _scr,
        on_tasks=True,
        cheap_controls=(*_WORSE, "shuffled_labels"),
        more_controls=("random_tied", "word_deletion"),
        control_draws=_DRAWS,
        deletion=_scr_of_words,
    ),
    "tpp": Family(
        _tpp,
        on_tasks=True,
        cheap_controls=(*_WORSE, "shuffled_labels"),
        more_controls=("random_tied",),
        control_draws=_DRAWS,
    ),
    "erasure": Family(_erasure, on_tasks=True, more_controls=_WORSE),
    "sparse_probing": Family(_sparse_probing, on_tasks=True, more_controls=_WORSE),
    "last_token_probing": Family(_last_token),
    "absorption": Family(_absorption),
    "ravel": Family(_ravel, on_tasks=True),
    "principled": Family(_principled, on_tasks=True),
    "unlearning": Family(_unlearning, on_tasks=True),
    "structure": Family(_structure),
    "concepts": Family(_concepts, on_tasks=True),
    "judge_calibration": Family(
        _judge_calibration,
        judged=[(name, {}) for name in judge_calibration.NAMES],
        random=False,
    ),
    "shift": Family(
        _shift,
        on_tasks=True,
        judged=shift.NAMES,
        shown=True,
        cheap_controls=("word_deletion",),
        more_controls=(*_WORSE, "shuffled_labels"),
        deletion=_shift_of_words,
    ),
    "autointerp": Family(
        _autointerp,
        judged=autointerp.NAMES,
        shown=True,
        more_controls=("random",),
        control_texts=_corpus_texts,
    ),
}
