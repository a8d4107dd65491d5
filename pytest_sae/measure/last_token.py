"""k-sparse probing at the last token of one dictionary: one pass of the texts' ends, one encode.

measure(latents, most, seed) -> list[Estimate]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pytest_sae.activations.rows import encode_rows, last_rows
from pytest_sae.data import sae_probes
from pytest_sae.data.sae_probes import LastTokenTask
from pytest_sae.measure.latents import Latents
from pytest_sae.metrics.last_token import KS, STATISTICS, LabelledRows, estimates, score
from pytest_sae.models.absent import AbsentModel
from pytest_sae.models.tokenize import tokenize_ends
from pytest_sae.stats import Estimate, not_applicable

PREFIX = "sparse_probing.last_token"
CANONICAL = f"{PREFIX}.canonical"
PUBLISHED_CONTEXT = 1024


def measure(latents: Latents, most: int | None, seed: int) -> list[Estimate]:
    """Return the `sparse_probing.last_token` figures over the 113 data sets of sae-probes.

    Args:
        latents: of the dictionary.
        most: rows of each data set, None for the published sizes (and the published context of
            1024 tokens, as far as the model has positions), 0 for none.
        seed: the run's.
    """
    reason = _unmeasured(latents, most)
    if reason:
        return [
            not_applicable(f"{prefix}.{statistic}", reason, {"k": k})
            for prefix in (PREFIX, CANONICAL)
            for statistic in STATISTICS
            for k in KS
        ]
    return measure_tasks(latents, sae_probes.read_tasks(most, seed), seed, most is None)


def measure_tasks(
    latents: Latents, tasks: Sequence[LastTokenTask], seed: int, published_context: bool
) -> list[Estimate]:
    """Return the figures over any binary data sets; see `measure`."""
    texts = tuple(dict.fromkeys(text for task in tasks for text in task.texts))
    context = PUBLISHED_CONTEXT if published_context else latents.context
    limit = latents.model.positions
    context = context if limit is None else min(context, limit)
    bos = latents.dictionary.info.prepend_bos is not False
    tokens = tokenize_ends(texts, latents.model.tokenizer, context, bos)
    (x,) = last_rows(latents.model, [latents.site], tokens, latents.store)
    z = encode_rows(latents.dictionary, x, latents.store.work)
    place = {text: number for number, text in enumerate(texts)}
    found = []
    for prefix, published in ((PREFIX, False), (CANONICAL, True)):
        rows = []
        for task in tasks:
            split = task.published if published else task.distinct
            mine = z[[place[text] for text in task.texts]]
            rows.append(
                LabelledRows(
                    task.name,
                    mine,
                    np.array(task.labels),
                    np.array(split.train, np.int64),
                    np.array(split.test, np.int64),
                )
            )
        found += estimates(score(rows, published, seed), prefix, seed)
    about = {"source": f"sae-probes {sae_probes.version()}", "context": context}
    return [replace(each, details={**each.details, **about}) for each in found]


def _unmeasured(latents: Latents, most: int | None) -> str:
    if most == 0:
        return "not part of this suite: take --sae-suite=standard or paper"
    if latents.in_context:
        return latents.in_context
    if isinstance(latents.model, AbsentModel):
        return "the run is on recorded activations: the texts' ends need the model"
    return sae_probes.missing() or ""
