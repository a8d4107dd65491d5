"""SHIFT: a judge reads latents, and those about the spurious concept are ablated.

    candidates(probes, train, z_train, decoder) -> Candidates        # in `shift_selection`
    score_task(data, candidates, opinions, about, deleted, seed) -> ShiftTask
    estimates(tasks, judge, seed) -> list[Estimate]                  # in `shift_estimates`

Marks et al. 2024 (arXiv 2403.19647) had a person read the latents of a confounded classifier,
Karvonen et al. 2024 (arXiv 2411.18895) a language model. Selections of latents are compared on the
same texts, probes and draws:

- `none`: nothing is ablated. `judge`: those among the top n by effect on the spurious concept that
  a judge accepts for it. `effect`: all of the top n. `oracle`: up to n candidates, chosen greedily
  by accuracy on labelled validation texts. `words`: no ablation; the spurious concept's words are
  deleted from the texts and the model reads what is left.

Each is read by three classifiers:

- `plain`: the confounded probe as it is.
- `recentred`: the same weights; its threshold follows the mean logit of the texts that it was
  fitted on, without any label. It is what ablation to the mean over these texts would give.
  Ablation to zero of a latent that fires for one value of the spurious concept only moves all
  logits the same way; a threshold that stays behind then costs accuracy in one cell what removal
  of the concept wins in another.
- `refit`: the confounded probe fitted again, on the same confounded texts and resamples after
  ablation or deletion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pytest_sae.metrics.ablation import Indices, Removal
from pytest_sae.metrics.scr import Concept, DirectionLogits, Quadrants, ScrTask, refit
from pytest_sae.metrics.shift_selection import Candidates, Opinion, Oracle, accepted, validation
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.probes import LinearProbes, ProbeSets

Selection = Literal["none", "judge", "effect", "oracle", "words"]
Ablated = Literal["judge", "effect", "oracle"]
Classifier = Literal["plain", "recentred", "refit"]

ABLATED: tuple[Ablated, ...] = ("judge", "effect", "oracle")
CLASSIFIERS: tuple[Classifier, ...] = ("plain", "recentred", "refit")
#: Numbers of latents from which a judge chooses; the last one is the headline.
NS = (2, 5, 10, 20)
HEADLINE_N = 20

_AT_ONCE = 10  # latents whose removal is measured in one go


@dataclass(frozen=True)
class TaskData:
    """One task read through one dictionary, before anything is selected.

    Args:
        name: of the task.
        probes: from `scr.fit_probes`.
        train: labels of the training texts.
        test: labels of the test texts.
        x_train: (text, d) pooled activations of the training texts.
        x_test: (text, d) of the test texts.
        removal_train: what ablation takes from the training texts.
        removal_test: what it takes from the test texts.
    """

    name: str
    probes: ProbeSets
    train: Quadrants
    test: Quadrants
    x_train: NDArray[np.floating]
    x_test: NDArray[np.floating]
    removal_train: Removal
    removal_test: Removal

    @property
    def confounded(self) -> LinearProbes:
        """The confounded probe of every fit."""
        fits = self.probes.fits
        return LinearProbes(
            np.stack([fit.weight[2] for fit in fits]), np.stack([fit.bias[2] for fit in fits])
        )


@dataclass(frozen=True)
class WordDeletion:
    """What becomes of a task's texts without the spurious concept's words.

    Args:
        words: that were deleted.
        x_train: (text, d) pooled activations of what is left of the training texts.
        x_test: (text, d) of the test texts.
        kept: texts that hold nothing else and were left as they are.
    """

    words: tuple[str, ...]
    x_train: NDArray[np.floating]
    x_test: NDArray[np.floating]
    kept: int = 0


@dataclass(frozen=True)
class ShiftTask:
    """One task's logits under every selection: everything the estimates need.

    Args:
        name: of the task.
        about: names of its concepts.
        ns: numbers of latents to choose from.
        test: labels of the test texts.
        own: (fit, text) logits of the probe that was fitted for the intended concept.
        confounded: (fit, text) of the confounded probe.
        curves: per selection of latents, (n, fit, text) of the confounded probe after ablation.
        readings: per selection and classifier, (fit, text) at the last n.
        sets: per selection, the latents that were ablated at the last n.
        candidates: that the judge was asked about.
        opinions: of the judge, by latent.
        words: that were deleted.
        kept: texts that deletion left as they are.
    """

    name: str
    about: Mapping[Concept, str]
    ns: tuple[int, ...]
    test: Quadrants
    own: Floats
    confounded: Floats
    curves: Mapping[Ablated, Floats]
    readings: Mapping[Selection, Mapping[Classifier, Floats]]
    sets: Mapping[Ablated, Indices]
    candidates: Candidates
    opinions: Mapping[int, Opinion]
    words: tuple[str, ...]
    kept: int

    def as_scr(self) -> ScrTask:
        """The judge's selection in the form that SCR's figures are computed from."""
        count = np.full(len(self.own), len(self.sets["judge"]))
        reading = DirectionLogits(self.own, self.confounded, self.curves["judge"], count)
        return ScrTask(self.name, self.ns, self.test, {}, {"spurious": reading})


def score_task(
    data: TaskData,
    candidates: Candidates,
    opinions: Mapping[int, Opinion],
    about: Mapping[Concept, str],
    deleted: WordDeletion | None,
    seed: int,
    ns: Sequence[int] = NS,
) -> ShiftTask:
    """Read one task under every selection.

    Args:
        data: of the task.
        candidates: from `shift_selection.candidates`.
        opinions: of the judge on each of them.
        about: names of the task's concepts, as the opinions spell them.
        deleted: the task without the spurious concept's words; None leaves `words` out.
        seed: the run's; refitting takes the resamples that the probes were fitted on.
        ns: ascending numbers of latents.

    Returns:
        Logits of every selection and classifier, and what was selected.

    Raises:
        MeasurementError: activations that are not finite.

    Source: Marks et al. 2024 (arXiv 2403.19647); with a model as judge
    Karvonen et al. 2024 (arXiv 2411.18895).

    Latent 0 writes the intended concept and latent 1 the spurious one, as the judge says; ablating
    that leaves a confounded probe that reads the intended label.

    >>> from pytest_sae.metrics.ablation import AffineRemoval
    >>> from pytest_sae.metrics.shift_selection import candidates
    >>> labels = Quadrants(np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool))
    >>> from scipy import sparse
    >>> z = sparse.csr_array(np.stack([labels.intended, labels.spurious], axis=1) * 1.0)
    >>> weight = np.array([[1, 0], [0, 1], [1, 2]], np.float32)
    >>> probes = LinearProbes(weight, np.full(3, -0.5, np.float32))
    >>> sets, gone = ProbeSets(probes, (probes,)), AffineRemoval(z, np.eye(2))
    >>> x, found = z.toarray(), candidates(sets, labels, z, np.eye(2))
    >>> data = TaskData("t", sets, labels, labels, x, x, gone, gone)
    >>> said = {0: Opinion({"job": 4, "gender": 0}), 1: Opinion({"job": 0, "gender": 4})}
    >>> about = {"intended": "job", "spurious": "gender"}
    >>> task = score_task(data, found, said, about, None, seed=0, ns=(1,))
    >>> task.sets["judge"].tolist(), task.readings["judge"]["plain"].tolist()
    ([1], [[-0.5, -0.5, 0.5, 0.5]])
    """
    probes = data.confounded
    nested = _nested(data, candidates, opinions, about, ns)
    removed = _removed(data, nested)
    sets = {selection: nested[selection][-1] for selection in ABLATED}
    curves = {
        selection: np.stack([probes.logits(data.x_test - each) for each in removed[selection]])
        for selection in ABLATED
    }
    return ShiftTask(
        data.name,
        dict(about),
        tuple(ns),
        data.test,
        np.stack([fit.logits(data.x_test)[0] for fit in data.probes.fits]),
        probes.logits(data.x_test),
        curves,
        _readings(data, sets, [removed[selection][-1] for selection in ABLATED], deleted, seed),
        sets,
        candidates,
        {int(latent): opinions[int(latent)] for latent in candidates.latents},
        () if deleted is None else deleted.words,
        0 if deleted is None else deleted.kept,
    )


def _nested(
    data: TaskData,
    candidates: Candidates,
    opinions: Mapping[int, Opinion],
    about: Mapping[Concept, str],
    ns: Sequence[int],
) -> dict[Ablated, list[Indices]]:
    """Per selection, the latents that are ablated at every n."""
    top = candidates.orders["spurious"]
    path = _oracle_path(data, candidates.latents, max(ns))
    return {
        "judge": [accepted(top[:n], opinions, about) for n in ns],
        "effect": [top[:n] for n in ns],
        "oracle": [path[:n] for n in ns],
    }


def _oracle_path(data: TaskData, latents: Indices, most: int) -> Indices:
    probes = data.confounded
    logits = probes.logits(data.x_train)
    seen = validation(data.train, logits)
    alone = [np.array([latent]) for latent in latents]
    # In blocks: where removal is measured by decoding, a set takes the memory of all texts.
    removed = [
        data.removal_train.logits(alone[start : start + _AT_ONCE], (1,), probes.weight)[:, 0, seen]
        for start in range(0, len(alone), _AT_ONCE)
    ]
    labels = Quadrants(data.train.intended[seen], data.train.spurious[seen])
    by_fit = np.concatenate(removed).transpose(0, 2, 1)
    chosen = Oracle(logits[:, seen], by_fit, labels).choose(most)
    return latents[chosen]


def _removed(
    data: TaskData, nested: Mapping[Ablated, list[Indices]]
) -> dict[Ablated, list[NDArray[np.floating]]]:
    """Per selection, what ablation takes from the test texts at every n."""
    sets = [latents for selection in ABLATED for latents in nested[selection]]
    every = iter(_each_once(data.removal_test, sets))
    return {selection: [next(every) for _ in nested[selection]] for selection in ABLATED}


def _readings(
    data: TaskData,
    sets: Mapping[Ablated, Indices],
    removed: Sequence[NDArray[np.floating]],
    deleted: WordDeletion | None,
    seed: int,
) -> dict[Selection, Mapping[Classifier, Floats]]:
    """Per selection, what each classifier reads; removed: of `ABLATED`, from the test texts."""
    untouched = dict.fromkeys(CLASSIFIERS, data.confounded.logits(data.x_test))
    readings: dict[Selection, Mapping[Classifier, Floats]] = {"none": untouched}
    if deleted is not None:
        readings["words"] = _read(data, deleted.x_train, deleted.x_test, seed)
    from_train = _each_once(data.removal_train, [sets[selection] for selection in ABLATED])
    for selection, train, test in zip(ABLATED, from_train, removed, strict=True):
        ablated = len(sets[selection]) > 0
        changed = data.x_train - train, data.x_test - test
        readings[selection] = _read(data, *changed, seed) if ablated else untouched
    return readings


def _each_once(removal: Removal, sets: list[Indices]) -> list[NDArray[np.floating]]:
    """What ablating each set takes from x̄; sets of the same latents share one array."""
    keys = [tuple(sorted(each.tolist())) for each in sets]
    distinct = list(dict.fromkeys(keys))
    means = removal.means([np.array(each, np.int64) for each in distinct])
    return [means[distinct.index(key)] for key in keys]


def _read(
    data: TaskData, x_train: NDArray[np.floating], x_test: NDArray[np.floating], seed: int
) -> dict[Classifier, Floats]:
    """Read changed texts with the confounded probe as it is, recentred, and fitted again."""
    probes = data.confounded
    plain = probes.logits(x_test)
    seen = data.train.intended == data.train.spurious
    moved = (probes.logits(x_train[seen]) - probes.logits(data.x_train[seen])).mean(1)
    again = refit(data.name, x_train, data.train, seed, len(probes.bias))
    return {"plain": plain, "recentred": plain - moved[:, None], "refit": again.logits(x_test)}
