"""What there is to win in an SCR task: known from the probes alone, before any dictionary is seen.

task_gaps(task, x_test, test, probes, seed) -> list[Gap]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_sae.metrics.protocol import MIN_STANDARD_ERRORS
from pytest_sae.metrics.readings import Draws, draw, equal_cells
from pytest_sae.metrics.scr import CONCEPTS, DIRECTIONS, READ, Concept, Quadrants
from pytest_sae.numbers.bootstrap import Floats, generator, spread
from pytest_sae.probes import ProbeSets


@dataclass(frozen=True)
class Gap:
    """How much there is to win in one direction of a task, known without any dictionary.

    Args:
        task: its name.
        direction: concept whose latents are to be ablated.
        clean: accuracy of the concept's own probe, mean over fits.
        confounded: accuracy of the confounded probe on the same label.
        se: standard error of their difference, over test texts and fits.
    """

    task: str
    direction: Concept
    clean: float
    confounded: float
    se: float | None

    @property
    def size(self) -> float:
        """clean - confounded."""
        return self.clean - self.confounded

    @property
    def usable(self) -> bool:
        """Is the gap more than three standard errors wide?"""
        return self.se is not None and self.size > MIN_STANDARD_ERRORS * self.se


def task_gaps(
    task: str, x_test: NDArray[np.floating], test: Quadrants, probes: ProbeSets, seed: int
) -> list[Gap]:
    """Return the gap of each direction: directions that are not `usable` are left out of `scr`.

    Needs no dictionary, so the list of tasks is frozen before one is seen.

    Args:
        task: its name.
        x_test: (text, d) pooled activations of the test texts.
        test: their labels.
        probes: from `fit_probes`.
        seed: the run's.
    """
    logits = np.stack([fit.logits(x_test) for fit in probes.fits])
    draws = draw_task(task, test, logits[:, 2], seed)
    return [
        gap_of(
            task, direction, test, logits[:, CONCEPTS.index(READ[direction])], logits[:, 2], draws
        )
        for direction in DIRECTIONS
    ]


def gap_of(
    task: str, direction: Concept, test: Quadrants, own: Floats, confounded: Floats, draws: Draws
) -> Gap:
    """Return the gap from logits (fit, text) of the two probes."""
    values = draws.over_fits(draws.over_texts(hits(np.stack([own, confounded]), test, direction)))
    se, _ = spread((values[:, 0] - values[:, 1])[1:])
    return Gap(task, direction, float(values[0, 0]), float(values[0, 1]), se)


def draw_task(task: str, test: Quadrants, confounded: Floats, seed: int) -> Draws:
    """Return the bootstrap draws of a task: the same for every dictionary and direction.

    Texts are drawn by their rank within their quadrant, so that neither an interval nor a gap that
    is barely usable depends on the order in which the texts stand.

    Args:
        task: its name.
        test: labels of the test texts.
        confounded: (fit, text) logits of the confounded probes; the first fit's rank the texts.
        seed: the run's.
    """
    ranked = np.lexsort((confounded[0], test.cells))
    draws = draw(test.cells[ranked], len(confounded), generator(seed, "scr", task))
    texts = np.empty_like(draws.texts)
    texts[:, ranked] = draws.texts
    return Draws(texts, draws.fits)


def hits(logits: Floats, test: Quadrants, direction: Concept) -> Floats:
    """(..., text) logits to weighted correctness: its sum over texts is the balanced accuracy."""
    correct = (logits > 0) == test.label(READ[direction])
    result: Floats = correct * equal_cells(test.cells)
    return result
