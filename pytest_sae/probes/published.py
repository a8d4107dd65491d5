"""The published probe: AdamW in batches of 16, many probes as one batched optimisation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.errors import MeasurementError
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.probes.linear import (
    Bools,
    Indices,
    LinearProbes,
    Redrawn,
    Singles,
    require_finite,
    with_ones,
)


@dataclass(frozen=True)
class ProbeRecipe:
    """Hyperparameters of the stochastic probe fit; the defaults are the published ones.

    Args:
        lr: AdamW's learning rate.
        weight_decay: AdamW's, on weight and bias.
        l1: penalty on the weight's absolute values, added to the loss.
        batch: texts per step; the last batch of an epoch may be smaller.
        epochs: passes over the training part.
        validation: share of the members set apart to choose the epoch. The published code chooses
            on the test split.
        betas: AdamW's.
        eps: AdamW's.
    """

    lr: float = 1e-3
    weight_decay: float = 0.01
    l1: float = 1e-3
    batch: int = 16
    epochs: int = 20
    validation: float = 0.2
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8


PUBLISHED = ProbeRecipe()


@dataclass(frozen=True)
class Schedule:
    """All that is random in one stochastic fit.

    Args:
        start: (d + 1,) float32 initial weight, then bias.
        validation: (n_validation,) text indices that choose the epoch.
        order: (epoch, n_train) text indices in the order in which they are used.
    """

    start: Singles
    validation: Indices
    order: Indices


def schedule(members: Indices, d: int, recipe: ProbeRecipe, rng: np.random.Generator) -> Schedule:
    """Draw initial values (as nn.Linear does), validation part and batches of one probe.

    Args:
        members: indices of the texts that the probe is fitted on.
        d: width of the activations.
        recipe: hyperparameters.
        rng: from `bootstrap.generator`, of this probe alone.

    Returns:
        The plan; validation and training texts share out the members.

    Raises:
        MeasurementError: too few members for a training and a validation part.
    """
    held_out = round(recipe.validation * len(members))
    if held_out < 1 or len(members) - held_out < 2:
        raise MeasurementError(
            f"a probe has {len(members)} training texts, of which {held_out} "
            "would choose its epoch: give it more texts"
        )
    bound = 1 / np.sqrt(d)
    start = rng.uniform(-bound, bound, d + 1).astype(np.float32)
    shuffled = rng.permutation(members)
    train = shuffled[held_out:]
    order = np.stack([rng.permutation(train) for _ in range(recipe.epochs)])
    return Schedule(start, shuffled[:held_out], order)


def fit_published(
    x: NDArray[np.floating],
    labels: Bools,
    members: Sequence[Indices],
    rngs: Sequence[np.random.Generator],
    recipe: ProbeRecipe = PUBLISHED,
    *,
    device: torch.device | str = "cpu",
) -> LinearProbes:
    """Fit probes by the published recipe: AdamW on `BCE(w.x + b) + l1 |w|_1`, batches of 16.

    The epoch with the best accuracy on a validation part of the members is kept, the earliest of
    ties. Each probe has its own generator, so its fit does not depend on the others beside it
    (beyond the last digits of float32 sums). Probes of one size run as one batched optimisation.

    Args:
        x: (text, d) activations, not standardised (the recipe's learning rate has their scale).
        labels: (probe, text) bool.
        members: per probe, the indices of the texts that it is fitted on.
        rngs: per probe, from `bootstrap.generator`.
        recipe: hyperparameters.
        device: where to fit.

    Returns:
        LinearProbes in the order of `members`.

    Raises:
        MeasurementError: x is not finite, or a probe has too few members.

    Source: Karvonen et al. 2024 (arXiv 2411.18895), SAEBench 0.6.
    """
    d = x.shape[1]
    plans = [schedule(texts, d, recipe, rng) for texts, rng in zip(members, rngs, strict=True)]
    inputs = with_ones(torch.as_tensor(require_finite(np.asarray(x, np.float32)), device=device))
    targets = torch.as_tensor(np.asarray(labels, np.float32), device=device)
    fitted = np.empty((len(plans), d + 1), np.float32)
    for size in sorted({plan.order.shape[1] for plan in plans}):
        group = [p for p, plan in enumerate(plans) if plan.order.shape[1] == size]
        found = _descend(inputs, targets[group], [plans[p] for p in group], recipe)
        fitted[group] = found.cpu().numpy()
    return LinearProbes(fitted[:, :-1].copy(), fitted[:, -1].copy())


def fit_redrawn(
    x: NDArray[np.floating],
    labels: Bools,
    members: Sequence[Indices],
    rngs: Sequence[np.random.Generator],
    counts: Floats,
    recipe: ProbeRecipe = PUBLISHED,
) -> tuple[Redrawn, ...]:
    """Fit the same probes by the published recipe on several resamples of the training texts.

    Args:
        x: (text, d) activations.
        labels: (probe, text) bool, the same for every resample.
        members: for each probe of the first resample, then of the next, its texts as drawn.
        rngs: as many.
        counts: (resample, text) how often each text was drawn.
        recipe: hyperparameters.

    Returns:
        One for each resample.

    Raises:
        MeasurementError: as `fit_published`.
    """
    found = fit_published(x, np.tile(labels, (len(counts), 1)), members, rngs, recipe)
    pairs = zip(found.split(len(labels)), counts, strict=True)
    return tuple(Redrawn(*each) for each in pairs)


@torch.inference_mode()
def _descend(inputs: Tensor, targets: Tensor, plans: list[Schedule], recipe: ProbeRecipe) -> Tensor:
    """(text, d+1) inputs and (probe, text) targets to the (probe, d+1) of the best epochs."""
    start = torch.as_tensor(np.stack([plan.start for plan in plans]), device=inputs.device)
    optimiser = _AdamW(start[:, None], recipe)
    orders = torch.as_tensor(np.stack([plan.order for plan in plans], 1), device=inputs.device)
    best, best_accuracy = start.clone(), inputs.new_full((len(plans),), -1.0)
    for order in orders:
        for x, y in _batches(inputs, targets, order, recipe.batch):
            optimiser.step(x, y)
        parameters = optimiser.parameters[:, 0]
        accuracy = _validation_accuracy(inputs, targets, parameters, plans)
        better = accuracy > best_accuracy
        best[better], best_accuracy[better] = parameters[better], accuracy[better]
    return best


_GATHERED = 2**18  # numbers gathered at once: a few steps' inputs, which stay in the CPU's cache


def _batches(
    inputs: Tensor, targets: Tensor, order: Tensor, size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (probe, batch, d+1) inputs and (probe, 1, batch) labels in the order (probe, text).

    Several batches are gathered at once: a step is so small that every call counts.
    """
    probes, texts = order.shape
    steps = max(1, _GATHERED // (probes * size * inputs.shape[1]))
    whole = texts - texts % size
    for places in (*order[:, :whole].split(steps * size, dim=1), order[:, whole:]):
        batch = min(size, places.shape[1])
        if batch:
            x = inputs.index_select(0, places.reshape(-1)).view(probes, -1, batch, inputs.shape[1])
            y = targets.gather(1, places).view(probes, -1, 1, batch)
            yield from zip(x.unbind(1), y.unbind(1), strict=True)


def _validation_accuracy(
    inputs: Tensor, targets: Tensor, parameters: Tensor, plans: list[Schedule]
) -> Tensor:
    held_out = torch.as_tensor(np.stack([plan.validation for plan in plans]), device=inputs.device)
    logits = (parameters @ inputs.T).gather(1, held_out)
    return ((logits > 0) == (targets.gather(1, held_out) > 0)).float().mean(1)


class _AdamW:
    """torch.optim.AdamW for many probes (probe, 1, d+1), with the loss' gradient written out."""

    def __init__(self, parameters: Tensor, recipe: ProbeRecipe) -> None:
        self.parameters, self.recipe, self.steps = parameters, recipe, 0
        self.first, self.second = torch.zeros_like(parameters), torch.zeros_like(parameters)
        self.l1 = torch.full_like(parameters, recipe.l1)
        self.l1[..., -1] = 0.0  # no penalty on the bias

    def step(self, x: Tensor, y: Tensor) -> None:
        """(probe, batch, d+1) inputs, (probe, 1, batch) labels."""
        error = torch.bmm(self.parameters, x.mT).sigmoid_().sub_(y)
        penalty = torch.copysign(self.l1, self.parameters)
        self._apply(penalty.baddbmm_(error, x, alpha=1 / y.shape[2]))

    def _apply(self, gradient: Tensor) -> None:
        recipe, (beta1, beta2) = self.recipe, self.recipe.betas
        self.steps += 1
        self.parameters.mul_(1 - recipe.lr * recipe.weight_decay)
        self.first.lerp_(gradient, 1 - beta1)
        self.second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        # Both sides of the published quotient times the root of v's bias correction: a call less.
        correction = math.sqrt(1 - beta2**self.steps)
        root = self.second.sqrt().add_(recipe.eps * correction)
        rate = recipe.lr * correction / (1 - beta1**self.steps)
        self.parameters.addcdiv_(self.first, root, value=-rate)
