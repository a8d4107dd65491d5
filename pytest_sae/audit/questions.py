"""Five questions to every metric and setting, on worlds whose truth is known.

    audit(worlds, directions) -> list[AuditMetric]

1. noise: how much does it move when texts and probes are drawn again?
2. truth: does it rank dictionaries as their recovery of the true features does?
3. training: does it rise where training makes them recover more?
4. discrimination: how small a true difference does it tell apart?
5. consistency: do its own settings (n) rank dictionaries alike?

All of them use the trained dictionaries alone; the oracle and the controls have a question of
their own, whether they come first and last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from pytest_sae.audit.ranks import correlation, weighted_correlations
from pytest_sae.audit.values import Standing, WorldAudit
from pytest_sae.families.registry import expected_of
from pytest_sae.numbers.bootstrap import Floats, generator, resample, spread
from pytest_sae.numbers.metric_spec import Direction
from pytest_sae.records.audit import AuditMetric, AuditRank

#: What a metric that gates by default should reach.
MOST_CV = 0.02
LEAST_RANK = 0.9
LEAST_ORDERED = 0.95
POWER = 0.95

#: Checkpoints whose recovery differs by less than this are not in any order.
SAME = 0.01
_ALIKE = 1e-9  # a difference in recovery that is none, but for rounding
_REPLICATES = 1000


def audit(worlds: Sequence[WorldAudit], directions: Mapping[str, Direction]) -> list[AuditMetric]:
    """Ask every metric and setting that was observed.

    Args:
        worlds: with the same panel each.
        directions: of the metrics; one that is not there counts as `higher`.

    Returns:
        Answers for each metric and setting, in the order in which they were observed.
    """
    keys = dict.fromkeys((o.metric, o.setting) for world in worlds for o in world.observations)
    series = {key: [Series.of(world, *key) for world in worlds] for key in keys}
    return [
        _asked(key, each, directions.get(key[0], "higher"), series) for key, each in series.items()
    ]


@dataclass(frozen=True)
class Series:
    """One metric at one setting on one world.

    Args:
        metric: its name.
        standings: of the panel.
        values: (member,) at seed 0, NaN where undefined.
        again: (reseed, member) at the other seeds, NaN where not measured or undefined.
    """

    metric: str
    standings: tuple[Standing, ...]
    values: Floats
    again: Floats

    @classmethod
    def of(cls, world: WorldAudit, metric: str, setting: str) -> Series:
        """Collect a metric's values in the order of the standings."""
        place = {each.member: i for i, each in enumerate(world.standings)}
        seeds = max((o.seed for o in world.observations), default=0)
        table = np.full((seeds + 1, len(place)), np.nan)
        for seen in world.observations:
            if (seen.metric, seen.setting) == (metric, setting) and seen.value is not None:
                table[seen.seed, place[seen.member]] = seen.value
        return cls(metric, world.standings, table[0], table[1:])

    def signed(self, sign: float) -> Series:
        """Return it with higher for better."""
        return Series(self.metric, self.standings, sign * self.values, sign * self.again)

    def kind(self, name: str) -> NDArray[np.bool_]:
        """(member,): of a kind."""
        return np.array([each.kind == name for each in self.standings])

    @cached_property
    def trained(self) -> NDArray[np.bool_]:
        """(member,): trained, and with a value."""
        return self.kind("trained") & np.isfinite(self.values)

    @cached_property
    def task(self) -> Floats:
        """(member,) recovery of the features that the metric's tasks are about."""
        return np.array([each.about(self.metric).both for each in self.standings])

    @cached_property
    def noisy(self) -> NDArray[np.int64]:
        """Members that were measured again with values every time."""
        if len(self.again) < 2:
            return np.zeros(0, np.int64)
        return np.flatnonzero(np.isfinite(self.again).all(0))


def _asked(
    key: tuple[str, str],
    series: Sequence[Series],
    direction: Direction,
    others: Mapping[tuple[str, str], Sequence[Series]],
) -> AuditMetric:
    sign = -1.0 if direction == "lower" else 1.0
    better = [each.signed(sign) for each in series]
    ordered, checkpoints = in_order(better)
    cv, noise = noise_of(series)
    found = AuditMetric(
        metric=key[0],
        setting=key[1],
        direction=direction,
        cv=cv,
        noise=noise,
        task=_rank(better, lambda each: each.about(key[0]).both),
        everything=_rank(better, lambda each: each.everything.both),
        f1=_mean([spearman(each, lambda one: one.about(key[0]).f1) for each in better]),
        cosine=_mean([spearman(each, lambda one: one.about(key[0]).cosine) for each in better]),
        ordered=ordered,
        checkpoints=checkpoints,
        detects=smallest_detected(better),
        consistency=_consistency(key, series, others),
        oracle_first=_mean([_oracle_first(each) for each in better]),
        controls_last=_mean([_controls_last(each) for each in better]),
        undefined=float(np.mean([np.isnan(each.values).mean() for each in series])),
        misses=(),
    )
    return replace(found, misses=_misses(found))


def _misses(found: AuditMetric) -> tuple[str, ...]:
    reached = {
        "noise": found.cv is not None and found.cv <= MOST_CV,
        "truth": found.task.value is not None and found.task.value >= LEAST_RANK,
        "training": found.ordered is not None and found.ordered >= LEAST_ORDERED,
        "oracle": found.oracle_first == 1,
        "controls": found.controls_last == 1,
        "direction": found.direction != "none",
    }
    return tuple(name for name, good in reached.items() if not good)


def noise_of(series: Sequence[Series]) -> tuple[float | None, float | None]:
    """Return CV and noise over spread: `sqrt(mean var) / |mean|` and `/ sd between trained`.

    Pooled over dictionaries and worlds, so that one whose value happens to be near zero does not
    make the figure; each world's variance and mean count alike.
    """
    cvs, noises = [], []
    for each in series:
        found = each.again[:, each.noisy]
        if found.shape[1] == 0:
            continue
        deviation = float(np.sqrt(found.var(0, ddof=1).mean()))
        mean = abs(float(found.mean()))
        between = float(each.values[each.trained].std(ddof=1)) if each.trained.sum() > 1 else 0.0
        cvs.append(deviation / mean if mean > 0 else (0.0 if deviation == 0 else np.nan))
        noises.append(deviation / between if between > 0 else np.nan)
    return _mean(cvs), _mean(noises)


def in_order(series: Sequence[Series]) -> tuple[float | None, int]:
    """Return the share of adjacent checkpoints whose value rises with recovery, and their number.

    Pairs whose recovery of the task's features does not rise by SAME have no order to be in.
    """
    hits = []
    for each in series:
        runs: dict[str, list[int]] = {}
        for place in np.flatnonzero(each.trained):
            runs.setdefault(each.standings[place].run, []).append(int(place))
        for places in runs.values():
            for before, after in pairwise(places):
                if each.task[after] - each.task[before] >= SAME:
                    hits.append(each.values[after] > each.values[before])
    return (float(np.mean(hits)), len(hits)) if hits else (None, 0)


def smallest_detected(series: Sequence[Series]) -> float | None:
    """Return the difference in recovery above which dictionaries are told apart with 95 % power.

    Two dictionaries are compared as a gate does, on the same texts with the same probes, so the
    noise of their difference is that over reseeds. The power of a pair is the normal one of a two
    sided test at 5 %, with the sign of the truth; the result is the smallest difference such that
    the mean power over all pairs at least that far apart is 95 %, as it is above every larger one.
    """
    pairs = [pair for each in series for pair in _pairs(each) if pair[0] > _ALIKE]
    if not pairs:
        return None
    gaps, powers = np.array(sorted(pairs)).T
    means = np.cumsum(powers[::-1])[::-1] / np.arange(len(powers), 0, -1)
    failing = np.flatnonzero(means < POWER)
    first = failing[-1] + 1 if len(failing) else 0
    return float(gaps[first]) if first < len(gaps) else None


def _pairs(series: Series) -> list[tuple[float, float]]:
    found = []
    for one, two in combinations(series.noisy.tolist(), 2):
        low, high = sorted((one, two), key=lambda place: series.task[place])
        differences = series.again[:, high] - series.again[:, low]
        deviation = float(differences.std(ddof=1))
        mean = float(differences.mean())
        power = (
            float(norm.cdf(mean / deviation - norm.ppf(0.975)))
            if deviation > 0
            else float(mean > 0)
        )
        found.append((float(series.task[high] - series.task[low]), power))
    return found


Of = Callable[[Standing], float]


def _rank(series: Sequence[Series], of: Of) -> AuditRank:
    """Mean over worlds of Spearman's correlation, with the interval of drawing trainings anew."""
    value = _mean([spearman(each, of) for each in series])
    if value is None:
        return AuditRank(None, None, None)
    drawn = [_resampled(each, of, place) for place, each in enumerate(series)]
    _, ci = spread(np.mean(drawn, axis=0))
    low, high = ci or (None, None)
    return AuditRank(value, low, high)


def _resampled(series: Series, of: Of, place: int) -> Floats:
    """(replicate,): correlations after drawing trainings with replacement, alike for all metrics.

    A training is drawn with all its checkpoints, which are not independent of each other.
    """
    runs = list(dict.fromkeys(s.run for s in series.standings if s.kind == "trained"))
    rng = generator(0, "audit", str(place))
    drawn = resample(len(runs), rng, replicates=_REPLICATES).counts
    members = np.flatnonzero(series.trained)
    counts = drawn[:, [runs.index(series.standings[i].run) for i in members]]
    truth = np.array([of(series.standings[i]) for i in members])
    return weighted_correlations(series.values[members], truth, counts)


def spearman(series: Series, of: Of) -> float | None:
    """Return the rank correlation of a metric with a truth over trained dictionaries.

    Ties share their rank. None where a metric or the truth does not vary.

    Args:
        series: with higher for better.
        of: the truth of a standing.
    """
    chosen = np.flatnonzero(series.trained)
    truth = np.array([of(series.standings[i]) for i in chosen])
    return correlation(series.values[chosen], truth)


def _consistency(
    key: tuple[str, str],
    series: Sequence[Series],
    others: Mapping[tuple[str, str], Sequence[Series]],
) -> float | None:
    """Mean rank correlation with the same metric at every other n."""
    same = [
        values
        for other, values in others.items()
        if other != key and other[0] == key[0] and _but_n(other[1]) == _but_n(key[1])
    ]
    found = []
    for values in same:
        for mine, theirs in zip(series, values, strict=True):
            both = np.flatnonzero(mine.trained & theirs.trained)
            found.append(correlation(mine.values[both], theirs.values[both]))
    return _mean(found)


def _but_n(setting: str) -> list[str]:
    return [part for part in setting.split(",") if part.partition("=")[0] not in ("n", "k")]


def _oracle_first(series: Series) -> float | None:
    """1 if nothing trained is better than the oracle."""
    oracle, trained = series.values[series.kind("oracle")], series.values[series.trained]
    if not len(oracle) or not len(trained):
        return None
    return float(bool(np.isfinite(oracle[0]) and oracle[0] >= trained.max()))


def _controls_last(series: Series) -> float | None:
    """1 if every control that must be worse is worse than every trained dictionary.

    One without a value is not. Which must be is what a run asks (`MetricSpec.controls`): a
    permuted decoder has the same latents, of which a probe of latents says the same. A metric of
    which a run asks nothing must have all of them last.
    """
    asked = {
        place: expected_of(series.metric, series.standings[place].member)
        for place in np.flatnonzero(series.kind("control"))
    }
    below = [place for place, expected in asked.items() if expected in (None, "below")]
    trained = series.values[series.trained]
    if not below or not len(trained):
        return None
    return float(bool((series.values[below] < trained.min()).all()))


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of what there is; None if a part is missing everywhere or not a number."""
    there = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.mean(there)) if there else None
