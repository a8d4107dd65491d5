"""What there is to win in an SCR task: known from the probes alone, before any dictionary is seen.

gap_of(task, direction, test, own, confounded, draws) -> Gap      draw_task(...) -> Draws
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pytest_sae.metrics.probe_bootstrap import Draws, draw_by_rank, equal_cells
from pytest_sae.metrics.protocol import MIN_STANDARD_ERRORS
from pytest_sae.metrics.scr import READ, Concept, Quadrants
from pytest_sae.numbers.bootstrap import Floats, generator, spread


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


def gap_of(
    task: str, direction: Concept, test: Quadrants, own: Floats, confounded: Floats, draws: Draws
) -> Gap:
    """Return the gap from logits (fit, text) of the two probes.

    Args:
        task: its name.
        direction: concept whose latents are to be ablated; the other one's label is read.
        test: labels of the test texts.
        own: (fit, text) logits of the probe fitted for the concept that is read.
        confounded: (fit, text) logits of the confounded probe.
        draws: of the task.

    Returns:
        Balanced accuracies, means over the fits, and the standard error of their difference.

    >>> test = Quadrants(np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool))
    >>> own, mixed = np.array([[-1.0, -1.0, 1.0, 1.0]]), np.array([[-1.0, 1.0, 1.0, 2.0]])
    >>> gap_of("t", "spurious", test, own, mixed, draw_task("t", test, mixed, seed=0)).size
    0.25
    """
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

    Returns:
        The sample in row 0, then the replicates; all as balanced over quadrants as the sample.

    >>> test = Quadrants(np.arange(8) % 4 > 1, np.arange(8) % 2 > 0)
    >>> draws = draw_task("t", test, np.arange(8.0)[None], seed=0)
    >>> draws.texts[0].tolist(), draws.texts.shape
    ([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], (1001, 8))
    """
    rng = generator(seed, "scr", task)
    return draw_by_rank(test.cells, confounded[0], len(confounded), rng)


def hits(logits: Floats, test: Quadrants, direction: Concept) -> Floats:
    """(..., text) logits to weighted correctness: its sum over texts is the balanced accuracy.

    Args:
        logits: (..., text).
        test: labels of the texts.
        direction: concept whose latents are ablated; the other one's label is read.

    Returns:
        (..., text), a text's share of the accuracy where its logit has the right sign, else 0.

    >>> test = Quadrants(np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool))
    >>> hits(np.array([-1.0, 1.0, 1.0, 2.0]), test, "spurious").tolist()
    [0.25, 0.0, 0.25, 0.25]
    """
    correct = (logits > 0) == test.label(READ[direction])
    result: Floats = correct * equal_cells(test.cells)
    return result
