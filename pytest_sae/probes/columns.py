"""Logistic regressions on few columns, each on columns of its own, thousands fitted together.

    fit_columns(x, labels, weights, l1, l2) -> ColumnProbes     # a whole path of penalties
    ColumnProbes.logits(x) -> (set, fit, penalty, row)

Proximal Newton (Lee, Sun and Saunders 2014): the loss' quadratic model is minimised with the
penalty by coordinate descent, all problems in step, then the step is shortened until the objective
has fallen enough. The problems of one set share its columns and differ in their rows' weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.errors import MeasurementError
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.probes.linear import Bools

_TOLERANCE = 1e-8  # on the decrease that the quadratic model still promises, of the objective
_MAX_STEPS = 300
_TURNS = 20  # of the inner problem, and as many more after every ten steps
_SWEEPS = 3  # rounds of coordinate descent between two leaps
_INEXACT = 1e-3  # of the first change of slope: a step that good is good enough
_RIDGE = 1e-10  # of the mean curvature: separable rows leave next to none


@dataclass(frozen=True)
class ColumnProbes:
    """Probes on a set's columns.

    Args:
        weight: (set, fit, penalty, column) float64.
        bias: (set, fit, penalty) float64.
    """

    weight: Floats
    bias: Floats

    def logits(self, x: NDArray[np.floating]) -> Floats:
        """(set, row, column) to (set, fit, penalty, row) float64."""
        sets, fits, penalties, columns = self.weight.shape
        flat = self.weight.reshape(sets, fits * penalties, columns)
        wide = np.matmul(flat, np.swapaxes(np.asarray(x, np.float64), 1, 2))
        result: Floats = wide.reshape(sets, fits, penalties, -1) + self.bias[..., None]
        return result


def fit_columns(
    x: NDArray[np.floating],
    labels: Bools,
    weights: NDArray[np.floating],
    l1: Sequence[float],
    l2: Sequence[float],
) -> ColumnProbes:
    """Fit every set at every penalty, to convergence.

    Minimises `sum_i a_i log(1 + exp(-y_i (v.x_i + b))) + l1 |v|_1 + l2/2 |v|^2` over v and b; the
    bias is not penalised. sklearn's C is 1 / penalty where all a_i are 1. Nothing is standardised:
    the penalties act in the units of x. Columns and rows may be padded, with zeros and weight 0.

    Args:
        x: (set, row, column).
        labels: (set, row) bool.
        weights: (set, fit, row), not negative; 0 leaves a row out of a fit.
        l1: (penalty,) not negative; each fit starts from the one before, so begin with the largest.
        l2: (penalty,) not negative.

    Returns:
        ColumnProbes; columns of zeros have weight 0.

    Raises:
        MeasurementError: x is not finite, a fit sees one label only, or one doesn't converge.
    """
    wide: Floats = np.asarray(x, np.float64)
    shares: Floats = np.asarray(weights, np.float64)
    _require_both_labels(wide, labels, shares)
    problem = _Problem.of(wide, labels, shares)
    found = []
    at = torch.zeros(*problem.weights.shape[:2], problem.inputs.shape[2], dtype=torch.float64)
    with torch.inference_mode():
        for one, two in zip(l1, l2, strict=True):
            at = _descend(problem, at, one, two)
            found.append(at.numpy())
    path = np.stack(found, axis=2)
    return ColumnProbes(path[..., :-1], path[..., -1])


def _require_both_labels(x: Floats, labels: Bools, weights: NDArray[np.floating]) -> None:
    if not np.isfinite(x).all():
        raise MeasurementError(
            "some probe inputs are not finite: run model and dictionary in a wider dtype"
        )
    for name, chosen in (("positive", labels), ("negative", ~labels)):
        empty = np.argwhere((weights * chosen[:, None]).sum(2) <= 0)
        if len(empty):
            raise MeasurementError(
                f"fit {empty[0][1]} of set {empty[0][0]} has no {name} training row: a probe "
                "needs rows of both labels"
            )


@dataclass(frozen=True)
class _Problem:
    inputs: Tensor  # (set, row, column + 1), the last column ones
    signs: Tensor  # (set, 1, row)
    weights: Tensor  # (set, fit, row)

    @classmethod
    def of(cls, x: Floats, labels: Bools, weights: Floats) -> _Problem:
        ones = np.ones((*x.shape[:2], 1))
        return cls(
            torch.from_numpy(np.concatenate([x, ones], axis=2)),
            torch.from_numpy(np.where(labels, 1.0, -1.0))[:, None],
            torch.from_numpy(weights),
        )

    def take(self, sets: Tensor) -> _Problem:
        return _Problem(self.inputs[sets], self.signs[sets], self.weights[sets])

    def loss(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """(set, fit, column + 1) to (set, fit) losses and (set, fit, row) margins."""
        margins = self.signs * (at @ self.inputs.transpose(1, 2))
        return (self.weights * torch.nn.functional.softplus(-margins)).sum(2), margins

    def model(self, margins: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (set, fit, column + 1) and curvature (set, fit, column + 1, column + 1)."""
        wrong = torch.sigmoid(-margins)
        gradient = (-self.weights * self.signs * wrong) @ self.inputs
        bends = self.weights * wrong * (1 - wrong)
        curvature = torch.stack(
            [
                (self.inputs * bend[:, :, None]).transpose(1, 2) @ self.inputs
                for bend in bends.unbind(1)
            ],
            dim=1,
        )
        return gradient, curvature


def _descend(problem: _Problem, start: Tensor, l1: float, l2: float) -> Tensor:
    at = start.clone()
    left = torch.arange(len(at))
    penalised = torch.ones(at.shape[2], dtype=torch.float64)
    penalised[-1] = 0.0
    for number in range(_MAX_STEPS):
        part, here = problem.take(left), at[left]
        loss, margins = part.loss(here)
        gradient, curvature = part.model(margins)
        gradient = gradient + l2 * penalised * here
        curvature = curvature + torch.diag(l2 * penalised)
        turns = _TURNS * (1 + number // 10)
        step = _step(gradient, curvature, here, l1 * penalised, turns)
        gain = (gradient * step).sum(2) + l1 * _growth(here, step)
        objective = loss + _penalty(here, l1, l2)
        at[left] = _shortened(part, here, step, objective, gain, l1, l2)
        moving = (-gain > _TOLERANCE * (1e-6 + objective)).any(1)
        if not moving.any():
            return at
        left = left[moving]
    raise MeasurementError(
        f"{_MAX_STEPS} steps did not fit {len(left)} of {len(at)} sets of probes with penalties "
        f"{l1:g} and {l2:g}: are the penalties far too small?"
    )


def _growth(here: Tensor, step: Tensor) -> Tensor:
    """How much |v|_1 grows, bias aside."""
    return ((here + step)[..., :-1].abs() - here[..., :-1].abs()).sum(2)


def _penalty(at: Tensor, l1: float, l2: float) -> Tensor:
    v = at[..., :-1]
    return l1 * v.abs().sum(2) + 0.5 * l2 * v.square().sum(2)


def _shortened(
    problem: _Problem,
    here: Tensor,
    step: Tensor,
    objective: Tensor,
    gain: Tensor,
    l1: float,
    l2: float,
) -> Tensor:
    """Halve each problem's step until its objective has fallen enough (Armijo)."""
    size = torch.ones_like(objective)
    for _ in range(50):
        moved = here + size[..., None] * step
        reached = problem.loss(moved)[0] + _penalty(moved, l1, l2)
        # A converged fit's decrease is below what the objective can resolve.
        enough = reached <= objective + 1e-4 * size * gain + 1e-13 * (1 + objective)
        if enough.all():
            break
        size = torch.where(enough, size, size / 2)
    return torch.where(enough[..., None], moved, here)


def _step(gradient: Tensor, curvature: Tensor, here: Tensor, l1: Tensor, turns: int) -> Tensor:
    """Minimise `g.d + d.H.d / 2 + l1 |here + d|_1` over d, all problems in step."""
    size = curvature.shape[-1]
    mean = curvature.diagonal(dim1=2, dim2=3).mean(2)
    ridge = (_RIDGE * mean + 1e-300)[..., None, None] * torch.eye(size, dtype=torch.float64)
    curvature = curvature + ridge
    if not l1.any():
        solved: Tensor = torch.linalg.solve(curvature, gradient)
        return -solved
    flat = curvature.flatten(0, 1).numpy()
    step = _coordinates(
        gradient.flatten(0, 1).numpy(), flat, here.flatten(0, 1).numpy(), l1.numpy(), turns
    )
    return torch.from_numpy(step).reshape(gradient.shape)


def _coordinates(
    gradient: Floats, curvature: Floats, here: Floats, l1: Floats, turns: int
) -> Floats:
    """Coordinate descent, one coordinate of all problems at a time, and leaps in between.

    Correlated columns make coordinate descent creep; a leap to the minimum with the signs as they
    are, as far as none changes, ends that.
    """
    at, first = here.copy(), np.zeros(len(gradient))
    left = np.arange(len(gradient))  # problems that are not solved yet: the others wait
    for turn in range(turns):
        system = gradient[left], curvature[left], here[left]
        at[left], largest = _sweeps(at[left], *system, l1)
        if turn == 0:
            first = largest
        else:
            # Inexact: the next step corrects what is left.
            unsolved = largest > _INEXACT * first[left]
            left = left[unsolved]
            if not len(left):
                break
            system = gradient[left], curvature[left], here[left]
        at[left] = _leap(at[left], *system, l1)
    return at - here


def _sweeps(
    at: Floats, gradient: Floats, curvature: Floats, here: Floats, l1: Floats
) -> tuple[Floats, Floats]:
    """A few rounds over the coordinates; how much the slopes still changed in the first one."""
    slope = (gradient + np.einsum("pij,pj->pi", curvature, at - here)).T
    rows = np.ascontiguousarray(curvature.transpose(1, 2, 0))  # (coordinate, coordinate, problem)
    at = at.T.copy()
    largest = np.zeros(at.shape[1])
    for sweep in range(_SWEEPS):
        for j in range(len(at)):
            bend = rows[j, j]
            target = at[j] - slope[j] / bend
            kept = np.sign(target) * np.maximum(np.abs(target) - l1[j] / bend, 0.0)
            change = kept - at[j]
            at[j] = kept
            slope += rows[j] * change
            if sweep == 0:
                largest = np.maximum(largest, np.abs(change) * bend)
    return at.T, largest


def _leap(at: Floats, gradient: Floats, curvature: Floats, here: Floats, l1: Floats) -> Floats:
    """Go to the minimum over the nonzero coordinates and the bias, or to the first sign change."""
    free = (at != 0) | (l1 == 0)
    slope = gradient + np.einsum("pij,pj->pi", curvature, at - here) + l1 * np.sign(at)
    system = np.where(free[:, :, None] & free[:, None, :], curvature, 0.0)
    places = np.arange(at.shape[1])
    system[:, places, places] = np.where(free, system[:, places, places], 1.0)
    move = -np.linalg.solve(system, np.where(free, slope, 0.0)[:, :, None])[:, :, 0]
    crosses = free & (l1 > 0) & (np.sign(at + move) != np.sign(at))
    ratio = np.divide(-at, move, out=np.ones_like(at), where=crosses & (move != 0))
    size = np.where(crosses, ratio, 1.0).min(1, keepdims=True)
    moved = at + size * move
    # Exactly zero where a sign would change, not almost.
    return np.where(crosses & (ratio <= size), 0.0, moved)
