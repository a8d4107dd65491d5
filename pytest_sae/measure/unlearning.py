"""Unlearning by one dictionary: latents from two corpora, questions from their cached prefixes.

measure(given) -> list[Estimate]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.activations.latents import Latents
from pytest_sae.activations.patching import next_tokens
from pytest_sae.activations.pooled import encoded
from pytest_sae.activations.steering import activations
from pytest_sae.activations.store import Tensors
from pytest_sae.activations.stream import ActivationBatch, TokenActivations
from pytest_sae.data.unlearning import LETTERS, Question, UnlearningSizes, UnlearningTask, orders
from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.measure.given import Given
from pytest_sae.metrics import unlearning
from pytest_sae.metrics.unlearning import SETTINGS, Curve, Missing, Setting
from pytest_sae.models.tokenize import batches
from pytest_sae.numbers.estimate import Estimate

VERSION = "1"  # part of the cache key of what the model answers
_FEWEST = 4  # units of questions that are left, of either kind

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def measure(given: Given) -> list[Estimate]:
    """Return unlearning and unlearning.retain over the tasks.

    Args:
        given: to measure from.
    """
    latents, seed, sizes = given.latents, given.seed, UnlearningSizes(**given.counts)
    curves: list[Curve] = []
    missing: dict[str, Missing] = {}
    for task in given.tasks.unlearning:
        found = _curve(latents, task, sizes)
        if isinstance(found, Curve):
            curves.append(found)
        else:
            missing[task.name] = found
    return unlearning.estimates(curves, missing, seed)


def _curve(latents: Latents, task: UnlearningTask, sizes: UnlearningSizes) -> Curve | Missing:
    """Clamp by every setting and ask again; or say why that is impossible."""
    kinds = {"forget": task.forget_questions, "retain": task.retain_questions}
    kept = {kind: known(latents, task, asked) for kind, asked in kinds.items()}
    for kind, asked in kept.items():
        if len({question.unit for question in asked}) < _FEWEST:
            return Missing(
                f"the model answers {len(asked)} of {len(kinds[kind])} {kind} questions rightly "
                f"under all orders of their options; those of {_FEWEST} units are needed",
                of_model=True,
            )
    clamps = _clamps(latents, task)
    if not clamps:
        return Missing(
            "no latent fires on what is to be forgotten and hardly on what is to be retained"
        )
    asked = [*kept["forget"], *kept["retain"]]
    with latents.store.work.timed("unlearning"):
        right = _asked(latents, task, asked, clamps, sizes.orders)
    first = len(kept["forget"])
    return Curve(
        task.name,
        right[:, :first],
        right[:, first:],
        _units(kept["forget"]),
        _units(kept["retain"]),
        [clamp.setting for clamp in clamps],
        {
            "questions": {kind: len(each) for kind, each in kept.items()},
            "right_by_the_last_token_alone": _last_alone(latents, task, kept["forget"]),
            "questions_asked": {kind: len(each) for kind, each in kinds.items()},
            "latents": {str(c.setting.rarest): c.latents.tolist() for c in clamps},
        },
    )


def _clamps(latents: Latents, task: UnlearningTask) -> list[Clamp]:
    """Return the clamps of all settings for which a latent qualifies."""
    density, typical = firing(latents, task.forget)
    elsewhere = latents.densities(task.retain)
    return [
        Clamp(setting, found, -setting.m * typical[found])
        for setting in SETTINGS
        if len(found := unlearning.chosen(density, elsewhere, setting.rarest, setting.n))
    ]


@dataclass(frozen=True)
class Clamp:
    """Latents and what they are set to where they fire.

    Args:
        setting: that chose them.
        latents: (n,) indices.
        values: (n,).
    """

    setting: Setting
    latents: Ints
    values: Floats


def known(latents: Latents, task: UnlearningTask, questions: Sequence[Question]) -> list[Question]:
    """Return the questions that the model answers rightly under every order of their options.

    The same for every dictionary, so cached. Each order is put to those questions alone that were
    answered rightly so far.

    Args:
        latents: of any dictionary of the model.
        task: has the prompt that questions are put in.
        questions: of the task.
    """
    stream = latents.tokens(list(dict.fromkeys(task.prompt.of(q, orders(2)[0]) for q in questions)))

    def make() -> Tensors:
        left = list(range(len(questions)))
        most = max(len(question.options) for question in questions)
        for turn in range(len(orders(most))):
            asked = [i for i in left if turn < len(orders(len(questions[i].options)))]
            right = _clean(stream, task, [questions[i] for i in asked], turn)
            wrong = {i for i, ok in zip(asked, right, strict=True) if not ok}
            left = [i for i in left if i not in wrong]
        return {"known": torch.tensor(left, dtype=torch.long)}

    key = {
        "step": "unlearning.known",
        "code": VERSION,
        "texts": stream.text_key,
        "task": task.fingerprint,
    }
    return [questions[i] for i in latents.store.get(key, make)["known"].tolist()]


def firing(latents: Latents, texts: Sequence[str]) -> tuple[Floats, Floats]:
    """Return how often each latent fires on the texts' valid tokens, and its mean where it does.

    Args:
        latents: of the dictionary.
        texts: each once.

    Returns:
        (d_sae,) shares, and (d_sae,) means, 0 for a latent that never fires.
    """
    dictionary = latents.dictionary
    counts = torch.zeros(dictionary.d_sae, dtype=torch.float64, device=dictionary.device)
    sums, tokens = torch.zeros_like(counts), 0
    with torch.no_grad():
        for part in latents.read("encoding texts", latents.tokens(texts)):
            for _, z, _ in encoded(part, dictionary, latents.store.work):
                counts += (z != 0).sum(0)
                sums += z.sum(0, dtype=torch.float64)
                tokens += len(z)
    means = torch.where(counts > 0, sums / counts.clamp_min(1), 0.0)
    return (counts / tokens).cpu().numpy(), means.cpu().numpy()


def _asked(
    latents: Latents,
    task: UnlearningTask,
    questions: Sequence[Question],
    clamps: Sequence[Clamp],
    turns: int,
) -> Floats:
    """Return (setting, question): the share of some orders in which the answer is still right."""
    rows = [
        (place, task.prompt.of(question, order), order.index(question.right))
        for place, question in enumerate(questions)
        for order in orders(len(question.options))[:turns]
    ]
    texts = list(dict.fromkeys(text for _, text, _ in rows))
    picked = _clamped_answers(latents, texts, clamps)
    where = {text: i for i, text in enumerate(texts)}
    sums, counts = np.zeros((len(clamps), len(questions))), np.zeros(len(questions))
    for place, text, right in rows:
        sums[:, place] += picked[:, where[text]] == right
        counts[place] += 1
    return sums / counts


@torch.no_grad()
def _clamped_answers(latents: Latents, texts: Sequence[str], clamps: Sequence[Clamp]) -> Ints:
    """Return (setting, text): the index of the letter that is said under each clamp."""
    written, letters = latents.written(texts), _letters(latents.model.tokenizer, texts)
    picked = np.zeros((len(clamps), len(texts)), np.int64)
    parts = activations(written)
    read_parts = latents.read("clamping latents", latents.tokens(texts))
    for read, (part, under) in zip(read_parts, parts, strict=True):
        rows = part.batch.rows
        for place, change in enumerate(_changes(latents, read, clamps)):
            x = part.x.to(change.device, copy=True)
            x[part.batch.valid] += change.to(x.dtype)
            logits = latents.model.next_logits_from(part.batch, written.site, x, under)
            latents.store.work.spliced("clamp")
            picked[place, rows.numpy()] = _said(logits, letters[rows])
    return picked


@torch.no_grad()
def _last_alone(latents: Latents, task: UnlearningTask, questions: Sequence[Question]) -> float:
    """Return the share still answered with the site's mean in place at all tokens but the last.

    Near 1, the model has read the answer below the site, and no latent at an earlier token can
    make it forget; near chance, it reads it from here on.
    """
    first = {task.prompt.of(q, orders(len(q.options))[0]): q.right for q in questions}
    written = latents.written(list(first))
    letters, right = _letters(latents.model.tokenizer, list(first)), np.array(list(first.values()))
    parts = activations(written)
    mean = torch.cat([part.x_valid for part, _ in parts]).double().mean(0)
    hits = 0
    for part, under in parts:
        rest = part.batch.valid.clone()
        rest[torch.arange(len(rest)), part.batch.attention.sum(1) - 1] = False
        x = torch.where(rest[..., None], mean.to(part.x), part.x)
        logits = latents.model.next_logits_from(part.batch, written.site, x, under)
        rows = part.batch.rows
        hits += int((_said(logits, letters[rows]) == right[rows.numpy()]).sum())
    return hits / len(first)


def _changes(latents: Latents, read: ActivationBatch, clamps: Sequence[Clamp]) -> list[Tensor]:
    """Return what each clamp adds at the valid tokens of a batch, (token, d_out) each."""
    dictionary = latents.dictionary
    pieces: list[list[Tensor]] = [[] for _ in clamps]
    for x, z, _ in encoded(read, dictionary, latents.store.work):
        for clamp, found in zip(clamps, pieces, strict=True):
            found.append(clamped_change(dictionary, x, z, clamp))
    return [torch.cat(found) for found in pieces]


def clamped_change(dictionary: Dictionary, x: Tensor, z: Tensor, clamp: Clamp) -> Tensor:
    """Return what setting firing latents to their values adds, (token, d_out).

    The dictionary's error and all other latents stay as they are.

    Args:
        dictionary: that x was encoded by.
        x: (token, d_in).
        z: (token, d_sae).
        clamp: latents and values.
    """
    latents = torch.from_numpy(clamp.latents).to(z.device)
    values = torch.from_numpy(clamp.values).to(z)
    change = torch.zeros(len(z), dictionary.d_out, dtype=z.dtype, device=z.device)
    fires = (z[:, latents] != 0).any(1)
    if fires.any():
        before = z[fires]
        after = before.clone()
        after[:, latents] = torch.where(before[:, latents] != 0, values, 0.0)
        was = dictionary.contribution(x[fires], before, latents)
        change[fires] = dictionary.contribution(x[fires], after, latents) - was
    return change


def _clean(
    stream: TokenActivations, task: UnlearningTask, questions: Sequence[Question], turn: int
) -> NDArray[np.bool_]:
    """Return which questions the model answers rightly in one order of their options."""
    if not questions:
        return np.zeros(0, bool)
    asked = [(q, orders(len(q.options))[turn]) for q in questions]
    prompts = [task.prompt.of(question, order) for question, order in asked]
    texts = list(dict.fromkeys(prompts))
    letters, said = _letters(stream.model.tokenizer, texts), np.zeros(len(texts), np.int64)
    for batch in batches(
        texts, stream.model.tokenizer, stream.context, stream.prepend_bos, stream.tokens_per_batch
    ):
        rows = batch.rows
        said[rows.numpy()] = _said(stream.model.next_logits(batch), letters[rows])
        stream.store.work.model_passes += 1
        stream.store.work.model_tokens += int(batch.valid.sum())
    places = {text: place for place, text in enumerate(texts)}
    right = [order.index(question.right) for question, order in asked]
    found: NDArray[np.bool_] = said[[places[each] for each in prompts]] == np.array(right)
    return found


def _letters(tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Return the token of each letter behind each text, (text, letter); -1 where there is none."""
    columns = [next_tokens(texts, [letter] * len(texts), tokenizer) for letter in LETTERS]
    found = [
        [-1 if token is None else token for token in row] for row in zip(*columns, strict=True)
    ]
    return torch.tensor(found)


def _said(logits: Tensor, letters: Tensor) -> Ints:
    """Return the index of the letter with the highest logit, (text,)."""
    scores = logits.gather(1, letters.clamp_min(0).to(logits.device)).float().cpu()
    return scores.masked_fill(letters < 0, -torch.inf).argmax(1).numpy()


def _units(questions: Sequence[Question]) -> Ints:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(q.unit, len(numbers)) for q in questions], np.int64)
