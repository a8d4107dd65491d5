"""The default probe: L2-regularised logistic regression, many at once, fitted to convergence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from pytest_sae.errors import MeasurementError
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.probes.linear import Bools, LinearProbes, require_finite, with_ones

#: Penalty of the default probes, on standardised inputs and the mean loss: the sklearn C that
#: gives the same fit is 1 / (L2 * texts). Fixed beforehand: nothing is selected on the test split.
L2 = 0.01


def fit_logistic(
    x: NDArray[np.floating] | sparse.csr_array,
    labels: Bools,
    weights: NDArray[np.floating],
    l2: float = L2,
) -> LinearProbes:
    """Fit L2-regularised logistic regressions to convergence, all probes together.

    Minimises `sum_i a_i log(1 + exp(-y_i (v.s_i + b))) / sum_i a_i + l2/2 |v|^2` over v and b, s
    the inputs standardised by mean and deviation of *all* rows of x (so that a fit depends on x
    and its own weights only, not on the other probes), folded back to act on x itself. The problem
    is strictly convex in v: the fit has no randomness of its own.

    Args:
        x: (text, d), dense or sparse; a sparse one is never made dense.
        labels: (probe, text) bool.
        weights: (probe, text), not negative; 0 leaves a text out, a bootstrap's counts are weights.
        l2: penalty.

    Returns:
        LinearProbes, float32, fitted in float64.

    Raises:
        MeasurementError: x is not finite, a probe sees one label only, or a fit doesn't converge.
    """
    if sparse.issparse(x):
        return _of_used_columns(x, labels, weights, l2)
    return _fit(_dense(np.asarray(x), l2), labels, weights, l2)


def _of_used_columns(
    x: sparse.csr_array, labels: Bools, weights: NDArray[np.floating], l2: float
) -> LinearProbes:
    """A column without an entry gets no weight: however many there are, they cost nothing."""
    used = np.union1d(x.indices, [0]).astype(np.int64)  # one at least
    found = _fit(_sparse(sparse.csr_array(x[:, used]), l2), labels, weights, l2)
    weight = np.zeros((len(found.weight), x.shape[1]), np.float32)
    weight[:, used] = found.weight
    return LinearProbes(weight, found.bias)


def _fit(
    given: tuple[Inputs, Floats, Floats], labels: Bools, weights: NDArray[np.floating], l2: float
) -> LinearProbes:
    signs = torch.as_tensor(np.where(labels, 1.0, -1.0))
    shares = shares_of(labels, np.asarray(weights, np.float64))
    inputs, mean, scale = given
    found = minimise(Logistic(inputs, signs, shares, l2)).numpy()
    weight = found[:, :-1] / scale
    bias = found[:, -1] - weight @ mean
    return LinearProbes(weight.astype(np.float32), bias.astype(np.float32))


def shares_of(labels: Bools, weights: Floats) -> Tensor:
    """Return each text's part in each probe's mean loss, (probe, text).

    Args:
        labels: (probe, text) bool.
        weights: (probe, text), not negative; 0 leaves a text out.

    Returns:
        float64; each row sums to 1.

    Raises:
        MeasurementError: a probe sees one label only.
    """
    for name, chosen in (("positive", labels), ("negative", ~labels)):
        empty = np.flatnonzero((weights * chosen).sum(1) <= 0)
        if len(empty):
            raise MeasurementError(
                f"probe {empty[0]} has no {name} training text: a probe needs texts of both labels"
            )
    return torch.as_tensor(weights / weights.sum(1, keepdims=True))


class Inputs(Protocol):
    """Standardised inputs with a column of ones: all that a fit does with them."""

    @property
    def width(self) -> int:
        """Columns, the ones included."""

    def logits(self, v: Tensor, /) -> Tensor:
        """(probe, width) to (probe, text)."""

    def back(self, slopes: Tensor, /) -> Tensor:
        """(probe, text) to (probe, width): what each column adds up to."""

    def precondition(self, gradient: Tensor, /) -> Tensor:
        """(probe, width) gradient times an inverse curvature, where L-BFGS begins."""


def _dense(x: NDArray[np.floating], l2: float) -> tuple[Inputs, Floats, Floats]:
    wide = require_finite(np.asarray(x, np.float64))
    mean, deviation = wide.mean(0), wide.std(0)
    scale = np.where(deviation > 1e-12 * np.abs(mean), deviation, 1.0)
    inputs = with_ones(torch.as_tensor((wide - mean) / scale))
    ridge = torch.full((inputs.shape[1],), l2 + 1e-9, dtype=torch.float64)
    ridge[-1] = 1e-9
    # The loss' curvature at most: x'x/4.
    curvature = inputs.T @ inputs / (4 * len(inputs)) + torch.diag(ridge)
    return _Dense(inputs, torch.linalg.cholesky(curvature)), mean, scale


def _sparse(x: sparse.csr_array, l2: float) -> tuple[Inputs, Floats, Floats]:
    wide = x.astype(np.float64)
    require_finite(wide.data[:, None])
    mean = wide.mean(0)
    variance = np.maximum(wide.power(2).mean(0) - mean**2, 0.0)
    scale = np.where(variance > 1e-12 * mean**2, np.sqrt(variance), 1.0)
    return _Sparse(wide, wide.T.tocsr(), mean, scale, 0.25 + l2), mean, scale


@dataclass(frozen=True)
class DenseInputs:
    """Inputs in memory as they are; how to precondition is for those who know their curvature.

    Args:
        inputs: (text, width), the last column of ones.
    """

    inputs: Tensor

    @property
    def width(self) -> int:
        """How many weights a probe has, its bias among them."""
        return self.inputs.shape[1]

    def logits(self, v: Tensor, /) -> Tensor:
        """(probe, width) weights to (probe, text)."""
        return v @ self.inputs.T

    def back(self, slopes: Tensor, /) -> Tensor:
        """(probe, text) slopes to (probe, width)."""
        return slopes @ self.inputs


@dataclass(frozen=True)
class _Dense(DenseInputs):
    root: Tensor  # Cholesky factor of the largest curvature

    def precondition(self, gradient: Tensor, /) -> Tensor:
        return torch.cholesky_solve(gradient.T, self.root).T


@dataclass(frozen=True)
class _Sparse:
    """Centred and scaled on the fly: `(x - mean) / scale` would not be sparse."""

    x: sparse.csr_array  # (text, d)
    transposed: sparse.csr_array  # (d, text)
    mean: Floats
    scale: Floats
    curvature: float  # of each column: they are standardised

    @property
    def width(self) -> int:
        return len(self.mean) + 1

    def logits(self, v: Tensor, /) -> Tensor:
        weight, bias = v[:, :-1].numpy() / self.scale, v[:, -1].numpy()
        return torch.from_numpy((self.x @ weight.T).T + (bias - weight @ self.mean)[:, None])

    def back(self, slopes: Tensor, /) -> Tensor:
        total = slopes.sum(1).numpy()
        columns = (self.transposed @ slopes.numpy().T).T - total[:, None] * self.mean
        together = np.concatenate([columns / self.scale, total[:, None]], axis=1)
        return torch.from_numpy(together)

    def precondition(self, gradient: Tensor, /) -> Tensor:
        return gradient / self.curvature


class Logistic:
    """The loss of many logistic regressions on the same inputs."""

    def __init__(self, inputs: Inputs, signs: Tensor, shares: Tensor, l2: float) -> None:
        self.inputs, self.signs, self.shares = inputs, signs, shares
        self.penalty = torch.full((inputs.width,), l2, dtype=torch.float64)
        self.penalty[-1] = 0.0

    def value_and_gradient(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """(probe, d+1) to (probe,) and (probe, d+1)."""
        margins = self.signs * self.inputs.logits(v)
        value = (self.shares * torch.nn.functional.softplus(-margins)).sum(1)
        slopes = -self.shares * self.signs * torch.sigmoid(-margins)
        return (
            value + 0.5 * (self.penalty * v * v).sum(1),
            self.inputs.back(slopes) + self.penalty * v,
        )

    def precondition(self, gradient: Tensor) -> Tensor:
        """(probe, d+1) gradient times an inverse curvature."""
        return self.inputs.precondition(gradient)


_MEMORY = 10
_TOLERANCE = 1e-9
_MAX_STEPS = 1000


@torch.inference_mode()
def minimise(
    loss: Logistic,
    start: Tensor | None = None,
    tolerance: float = _TOLERANCE,
    memory: int = _MEMORY,
) -> Tensor:
    """Return the minimum by batched L-BFGS with backtracking, one step size per probe.

    Args:
        loss: of all probes.
        start: (probe, width) where to begin, None for zeros.
        tolerance: on the largest entry of the gradient, of a loss near one.
        memory: pairs of steps that are remembered.

    Returns:
        (probe, width) float64.

    Raises:
        MeasurementError: it doesn't converge.
    """
    point = start
    if point is None:
        point = torch.zeros(len(loss.shares), loss.inputs.width, dtype=torch.float64)
    value, gradient = loss.value_and_gradient(point)
    steps: list[tuple[Tensor, Tensor]] = []
    for _ in range(_MAX_STEPS):
        if gradient.abs().max() < tolerance:
            return point
        direction = -_inverse_curvature(loss, steps, gradient)
        moved, value, slope = _backtrack(loss, point, value, gradient, direction)
        steps = [*steps[1 - memory :], (moved - point, slope - gradient)]
        point, gradient = moved, slope
    raise MeasurementError(
        f"{_MAX_STEPS} steps did not fit the probes: largest gradient "
        f"{gradient.abs().max():.1e}; is l2 far too small?"
    )


def _inverse_curvature(
    loss: Logistic, steps: list[tuple[Tensor, Tensor]], gradient: Tensor
) -> Tensor:
    """The two-loop recursion (Nocedal 1980), every probe on its own."""
    direction, sizes = gradient.clone(), []
    for step, change in reversed(steps):
        size = _safe_divide((step * direction).sum(1), (step * change).sum(1))
        direction -= size[:, None] * change
        sizes.append(size)
    direction = loss.precondition(direction)
    if steps:
        step, change = steps[-1]
        ratio = (step * change).sum(1) / (change * loss.precondition(change)).sum(1)
        direction *= torch.where(ratio > 0, ratio, 1.0)[:, None]
    for (step, change), size in zip(steps, reversed(sizes), strict=True):
        again = _safe_divide((change * direction).sum(1), (step * change).sum(1))
        direction += (size - again)[:, None] * step
    return direction


def _safe_divide(above: Tensor, below: Tensor) -> Tensor:
    """0 where a probe has converged and no longer moves."""
    return torch.where(below > 0, above / torch.where(below > 0, below, 1.0), 0.0)


def _backtrack(
    loss: Logistic, point: Tensor, value: Tensor, gradient: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Halve each probe's step until its loss has fallen enough (Armijo)."""
    size, descent = torch.ones(len(point), dtype=torch.float64), (gradient * direction).sum(1)
    for _ in range(40):
        moved = point + size[:, None] * direction
        reached, slope = loss.value_and_gradient(moved)
        # A converged probe's decrease is below what the loss can resolve.
        enough = reached <= value + 1e-4 * size * descent + 1e-14
        if enough.all():
            break
        size = torch.where(enough, size, size / 2)
    return moved, reached, slope
