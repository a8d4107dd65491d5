"""k-sparse probing at the last token of one dictionary: one pass of the texts' ends, one encode.

measure(given) -> list[Estimate]
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from pytest_sae.activations.last_token import encode_rows, last_rows
from pytest_sae.activations.latents import Latents
from pytest_sae.activations.store import Tensors
from pytest_sae.data import sae_probes
from pytest_sae.data.sae_probes import LastTokenTask
from pytest_sae.measure.given import Given
from pytest_sae.metrics import last_token_probing_baseline
from pytest_sae.metrics.ablation import Bools, Indices
from pytest_sae.metrics.last_token_probing import (
    KS,
    STATISTICS,
    LabelledRows,
    LastTokenScores,
    estimates,
    score,
)
from pytest_sae.metrics.last_token_probing_baseline import ActivationRows
from pytest_sae.models.absent import AbsentModel
from pytest_sae.models.tokenize import tokenize_ends
from pytest_sae.numbers.estimate import Estimate, Param, no_data, not_applicable

VERSION = "1"  # part of a cache key: raise it when the same activations are read otherwise
PREFIX = "sparse_probing.last_token"
CANONICAL = f"{PREFIX}.canonical"
ACTIVATIONS = f"{PREFIX}.activations"
PUBLISHED_CONTEXT = 1024
_SETTINGS: list[tuple[str, Param | None]] = [*product((PREFIX, CANONICAL), KS), (ACTIVATIONS, None)]


def measure(given: Given) -> list[Estimate]:
    """Return the `sparse_probing.last_token` figures over the 113 data sets of sae-probes.

    Args:
        given: to measure from.
    """
    latents, most, seed = given.latents, given.sizes["rows"], given.seed
    reason, missing = _inapplicable(latents, most), sae_probes.missing()
    if reason:
        return _without(not_applicable, reason)
    if missing:
        return _without(no_data, missing)
    return measure_tasks(latents, sae_probes.read_tasks(most, seed), seed, most is None)


def _without(absent: Callable[..., Estimate], reason: str) -> list[Estimate]:
    return [
        absent(f"{prefix}.{statistic}", reason, {} if k is None else {"k": k})
        for prefix, k in _SETTINGS
        for statistic in STATISTICS
    ]


def measure_tasks(
    latents: Latents, tasks: Sequence[LastTokenTask], seed: int, published_context: bool
) -> list[Estimate]:
    """Return the figures over any binary data sets.

    Args:
        latents: of the dictionary.
        tasks: texts with two labels.
        seed: of probes and of the bootstrap.
        published_context: whether texts are cut where the published protocol does, not the run.

    Returns:
        The `sparse_probing.last_token` figures by default and by the published protocol, and those
        of the activations themselves.
    """
    context = PUBLISHED_CONTEXT if published_context else latents.context
    limit = latents.model.positions
    context = context if limit is None else min(context, limit)
    ends = _Ends.of(latents, tasks, context)
    with latents.store.work.timed("probe last tokens"):
        found = estimates(score(ends.coded(tasks, False), False, seed), PREFIX, seed)
        found += estimates(score(ends.coded(tasks, True), True, seed), CANONICAL, seed)
    scores = _of_activations(latents, ends, tasks, seed)
    baseline = last_token_probing_baseline.estimates(scores, ACTIVATIONS, seed)
    found = [*(_beside(each, baseline) for each in found), *baseline]
    about = {"source": f"sae-probes {sae_probes.version()}", "context": context}
    return [replace(each, details={**each.details, **about}) for each in found]


def _of_activations(
    latents: Latents, ends: _Ends, tasks: Sequence[LastTokenTask], seed: int
) -> LastTokenScores:
    """Read the data sets from raw activations: once for all dictionaries."""
    seen = hashlib.sha256(ends.x.contiguous().view(torch.uint8).numpy().tobytes())
    for task in tasks:
        for part in (np.array(ends.rows(task), np.int64), *_labelled(task, False)):
            seen.update(part.tobytes())
    key = {"step": "last_token.activations", "version": VERSION, "x": seen.hexdigest(),
           "tasks": [task.name for task in tasks], "seed": seed}  # fmt: skip

    def make() -> Tensors:
        found = last_token_probing_baseline.score(ends.raw(tasks), seed)
        told = {**found.values, "penalties": found.penalties, "rows": np.array(found.rows)}
        return {name: torch.from_numpy(np.asarray(each)) for name, each in told.items()}

    with latents.store.work.timed("probe activations"):
        kept = {name: each.numpy() for name, each in latents.store.get(key, make).items()}
    values = {name: kept[name] for name in STATISTICS}
    names = tuple(task.name for task in tasks)
    return LastTokenScores(names, int(kept["rows"]), values, kept["penalties"])


def _beside(estimate: Estimate, baseline: Sequence[Estimate]) -> Estimate:
    """The default figures are read with the baseline's protocol, and drawn beside it."""
    statistic = estimate.metric.removeprefix(f"{PREFIX}.")
    for each in baseline:
        if each.metric == f"{ACTIVATIONS}.{statistic}":
            held = {"references": {"all activations": each.value}}
            return replace(estimate, details={**estimate.details, **held})
    return estimate


@dataclass(frozen=True)
class _Ends:
    """The last token of every text, each text once.

    Args:
        place: of each text among the rows.
        x: (text, d_in).
        z: (text, d_sae).
    """

    place: Mapping[str, int]
    x: Tensor
    z: sparse.csr_array

    @classmethod
    def of(cls, latents: Latents, tasks: Sequence[LastTokenTask], context: int) -> _Ends:
        texts = tuple(dict.fromkeys(text for task in tasks for text in task.texts))
        bos = latents.dictionary.info.prepend_bos is not False
        tokens = tokenize_ends(texts, latents.model.tokenizer, context, bos)
        (x,) = last_rows(latents.model, [latents.site], tokens, latents.store)
        z = encode_rows(latents.dictionary, x, latents.store.work)
        return cls({text: number for number, text in enumerate(texts)}, x, z)

    def coded(self, tasks: Sequence[LastTokenTask], published: bool) -> list[LabelledRows]:
        return [
            LabelledRows(task.name, self.z[self.rows(task)], *_labelled(task, published))
            for task in tasks
        ]

    def raw(self, tasks: Sequence[LastTokenTask]) -> Iterator[ActivationRows]:
        """One at a time: the rows of many data sets are the same texts."""
        for task in tasks:
            x = self.x[self.rows(task)].float().numpy()
            yield ActivationRows(task.name, x, *_labelled(task, False))

    def rows(self, task: LastTokenTask) -> list[int]:
        """Return where the texts of a data set stand."""
        return [self.place[text] for text in task.texts]


def _labelled(task: LastTokenTask, published: bool) -> tuple[Bools, Indices, Indices]:
    """Labels, training rows and test rows."""
    split = task.published if published else task.distinct
    train, test = (np.array(each, np.int64) for each in (split.train, split.test))
    return np.array(task.labels), train, test


def _inapplicable(latents: Latents, most: int | None) -> str:
    if most == 0:
        return "not part of this suite: take --sae-suite=standard or paper"
    if latents.in_context:
        return latents.in_context
    if isinstance(latents.model, AbsentModel):
        return "the run is on recorded activations: the texts' ends need the model"
    return ""
