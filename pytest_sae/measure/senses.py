"""Senses of words in the strongest latents of one dictionary: one pass, one encode.

measure(given) -> list[Estimate]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from pytest_sae.activations.last_token import encode_rows, last_rows
from pytest_sae.activations.latents import Latents
from pytest_sae.data.senses import SensesTask
from pytest_sae.families.senses import CARD
from pytest_sae.measure.given import Given
from pytest_sae.metrics.senses import SensePairs, estimates, strongest
from pytest_sae.models.absent import AbsentModel
from pytest_sae.models.tokenize import tokenize_ends
from pytest_sae.numbers.bootstrap import Floats
from pytest_sae.numbers.estimate import Estimate, not_applicable


def measure(given: Given) -> list[Estimate]:
    """Return the figures of `senses` over all `[[senses]]` tables.

    Every word is read at its last token, where it stands last in the prompt.

    Args:
        given: to measure from.
    """
    latents, tasks = given.latents, given.tasks.senses
    reason = latents.in_context
    if isinstance(latents.model, AbsentModel):
        reason = "the run is on recorded activations: words need the model"
    if reason:
        return CARD.absent(not_applicable, reason)
    return estimates(_read(latents, tasks), given.seed)


def _read(latents: Latents, tasks: Sequence[SensesTask]) -> SensePairs:
    pairs = [(task, pair) for task in tasks for pair in task.pairs]
    read = [
        tuple(task.read(pair, text) for text in (pair.first, pair.second)) for task, pair in pairs
    ]
    texts = tuple(dict.fromkeys(text for both in read for text in both))
    place = {text: number for number, text in enumerate(texts)}
    where = np.array([[place[text] for text in both] for both in read])
    bos = latents.dictionary.info.prepend_bos is not False
    tokens = tokenize_ends(texts, latents.model.tokenizer, latents.context, bos)
    (x,) = last_rows(latents.model, [latents.site], tokens, latents.store)
    z = encode_rows(latents.dictionary, x, latents.store.work)
    words = [pair.word.lower() for _, pair in pairs]
    return SensePairs(
        np.unique(words, return_inverse=True)[1].astype(np.int64),
        np.array([pair.same for _, pair in pairs]),
        strongest(z, _norms(latents.dictionary.decoder_rows))[where],
        _cosine(x, where),
    )


def _norms(rows: Tensor | None) -> Floats | None:
    return None if rows is None else rows.detach().double().norm(dim=1).cpu().numpy()


def _cosine(x: Tensor, where: np.ndarray) -> Floats:
    unit = x.double() / x.double().norm(dim=1, keepdim=True)
    first, second = (unit[where[:, side]] for side in (0, 1))
    found: Floats = (first * second).sum(1).cpu().numpy()
    return found
