"""SCR with one part of its definition changed at a time, to find the part that is to blame.

    measure(latents, tasks, seed, fits) -> list[Estimate]          # a family for `gather`

Every variant reads the same probes on the same texts as `scr.margin` and differs in which latents
it ablates:

- `as defined`: the n largest `|mean difference| |w.d|`;
- `signed`: the n largest positive `(mean difference) (w.d)`: what a latent writes must push the
  probe to the side on which the latent fires more;
- `certain`: every latent whose signed effect is positive and whose mean difference is more than
  CERTAIN of its standard errors; no n;
- `own`: those of `certain` that move the ablated concept's probe more than the other one's;
- `n by training`: `signed`, with the n that scores best on the training texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pytest_sae.activations.latents import Latents
from pytest_sae.data.tasks import SpuriousTask, Tasks
from pytest_sae.measure.scr_and_tpp import PooledTask, erasure_texts, quadrants, scr_probes
from pytest_sae.metrics.ablation import Bools, Indices, Removal, mean_difference, order, written
from pytest_sae.metrics.protocol import NS
from pytest_sae.metrics.scr import CONCEPTS, DIRECTIONS, READ, Concept, Quadrants
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.numbers.estimate import Estimate, undefined
from pytest_sae.probes import LinearProbes

#: A difference of means under this many of its standard errors may be none at all: with a few
#: hundred latents compared, about one in a thousand passes by chance.
CERTAIN = 3.3

_SHORT = (2, 5, 20)  # the n of `as defined` and `signed` that are told


@dataclass(frozen=True)
class Effect:
    """What one concept does to each latent, and the latent to a probe.

    Args:
        difference: (d_sae,) mean over texts with the concept less mean over texts without it.
        se: (d_sae,) its standard error.
        adds: (d_sae,) what one unit of the latent adds to the concept's probe.
    """

    difference: Floats
    se: Floats
    adds: Floats

    @property
    def signed(self) -> Floats:
        """(d_sae,): positive where the latent speaks for the concept's probe."""
        effect: Floats = self.difference * self.adds
        return effect

    @property
    def certain(self) -> Bools:
        """(d_sae,): whether the difference is there at all."""
        certain: Bools = np.abs(self.difference) > CERTAIN * self.se
        return certain


def standard_errors(z: sparse.csr_array, positive: Bools) -> Floats:
    """(d_sae,): standard error of the difference of two means (Welch), texts as units."""
    squares = z.multiply(z)
    total = np.zeros(z.shape[1])
    for group in (positive, ~positive):
        share = group / group.sum()
        mean = z.T @ share
        total += (squares.T @ share - mean**2) / (group.sum() - 1)
    errors: Floats = np.sqrt(np.maximum(total, 0))
    return errors


Rule = Callable[[Effect, Effect], Indices]


def _all(effects: Floats) -> Indices:
    return order(effects, len(effects))


RULES: Mapping[str, Rule] = {
    "as defined": lambda own, _: _all(np.abs(own.signed)),
    "signed": lambda own, _: _all(own.signed),
    "certain": lambda own, _: _all(np.where(own.certain, own.signed, 0)),
    "own": lambda own, other: _all(
        np.where(own.certain & (own.signed > np.abs(other.signed)), own.signed, 0)
    ),
}


def measure(latents: Latents, tasks: Tasks, seed: int, fits: int) -> list[Estimate]:
    """Return every variant in both directions, as ratios of sums over tasks and fits.

    Args:
        latents: of the dictionary.
        tasks: with SCR tasks.
        seed: the run's.
        fits: probe fits.
    """
    gains: dict[tuple[str, Concept], float] = {}
    gaps = dict.fromkeys(DIRECTIONS, 0.0)
    texts = erasure_texts(tasks)
    for task in tasks.scr:
        for place in _Places.of(latents, texts, task, seed, fits):
            gaps[place.direction] += place.gap
            for name, gain in place.gains().items():
                key = (name, place.direction)
                gains[key] = gains.get(key, 0.0) + gain
    return [
        _estimate(name, direction, gain, gaps[direction])
        for (name, direction), gain in gains.items()
    ]


def _estimate(name: str, direction: Concept, gain: float, gap: float) -> Estimate:
    metric, params = f"scr.margin, {name}", {"direction": direction}
    if gap <= 0:
        return undefined(metric, "the clean probes are no better than the confounded ones", params)
    return Estimate(metric, gain / gap, params)


@dataclass(frozen=True, eq=False)
class _Places:
    """One task, one direction, one set of probes."""

    direction: Concept
    own: Effect
    other: Effect
    probes: LinearProbes
    view: PooledTask
    train: Quadrants
    test: Quadrants

    @classmethod
    def of(
        cls, latents: Latents, texts: Sequence[str], task: SpuriousTask, seed: int, fits: int
    ) -> list[_Places]:
        view = PooledTask.of(latents, texts, task.train.texts, task.test.texts)
        train, test = quadrants(task.train), quadrants(task.test)
        contrast = {
            each: (
                mean_difference(view.z_train, train.label(each), ~train.label(each)),
                standard_errors(view.z_train, train.label(each)),
            )
            for each in DIRECTIONS
        }
        found = []
        for probes in scr_probes(latents, view, task, seed, fits).fits:
            adds = written(view.rows, probes.weight[:2])
            effects = {
                each: Effect(*contrast[each], adds[:, CONCEPTS.index(each)]) for each in DIRECTIONS
            }
            found += [
                cls(each, effects[each], effects[READ[each]], probes, view, train, test)
                for each in DIRECTIONS
            ]
        return found

    @property
    def gap(self) -> float:
        own, confounded = self._margins(self.probes.logits(self.view.x_test)[[self._read, 2]])
        return float(own - confounded)

    @property
    def _read(self) -> int:
        return CONCEPTS.index(READ[self.direction])

    def gains(self) -> dict[str, float]:
        """Margin after ablation less the confounded probe's, for every variant."""
        orders = {name: rule(self.own, self.other) for name, rule in RULES.items()}
        gained: dict[str, float] = {}
        for name in ("as defined", "signed"):
            curve = self._gained(orders[name], NS, self.test, self.view.x_test, self.view.removal)
            gained |= {f"{name} n={n}": curve[NS.index(n)] for n in _SHORT}
        # `curve` is that of `signed` here: the n is chosen on the training texts alone.
        gained["n by training"] = (0.0, *curve)[self._best(orders["signed"])]
        for name in ("certain", "own"):
            everything = [max(1, len(orders[name]))]
            view = self.view
            last = self._gained(orders[name], everything, self.test, view.x_test, view.removal)
            gained[name] = last[0]
        return {name: float(value) for name, value in gained.items()}

    def _best(self, latents: Indices) -> int:
        """Place of the best n on the training texts, 0 for ablating nothing."""
        view = self.view
        curve = self._gained(latents, NS, self.train, view.x_train, view.removal_train)
        return int(np.argmax([0.0, *curve]))

    def _gained(
        self,
        latents: Indices,
        ns: Sequence[int],
        labels: Quadrants,
        x: NDArray[np.floating],
        removal: Removal,
    ) -> Floats:
        """(n,): margin after ablating the first n latents, less that before."""
        logits = self.probes.logits(x)[2]
        removed = removal.logits([latents], ns, self.probes.weight[2:])[0, :, :, 0]
        gained: Floats = self._margins(logits - removed, labels) - self._margins(logits, labels)
        return gained

    def _margins(self, logits: Floats, labels: Quadrants | None = None) -> Floats:
        """(..., text) logits to their correlation with the label that is read."""
        read = (labels or self.test).label(READ[self.direction])
        signs = np.where(read, 1.0, -1.0) - (2 * read.mean() - 1)
        centred = logits - logits.mean(-1, keepdims=True)
        spread = np.sqrt((centred**2).sum(-1) * (signs**2).sum())
        margins: Floats = (centred @ signs) / np.where(spread > 0, spread, 1)
        return margins
