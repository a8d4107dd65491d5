"""A dictionary against a supervised one, on tasks whose attributes are known.

measure(given) -> list[Estimate]
read_task(latents, task, seed, sizes) -> TaskReadings
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.activations.codes import reconstructed
from pytest_sae.activations.latents import Latents
from pytest_sae.activations.patching import PatchedCodes, Prompts, next_tokens, places_of, rows_at
from pytest_sae.data.attributes import AttributeTask, Labelled, PrincipledSizes, counterfactuals
from pytest_sae.errors import DataError
from pytest_sae.measure import attribution_patching
from pytest_sae.measure.given import Given
from pytest_sae.metrics import principled, supervised
from pytest_sae.metrics.ablation import rows_of
from pytest_sae.metrics.principled_estimates import (
    KS,
    Answers,
    Edits,
    TaskReadings,
    Values,
    estimates,
)
from pytest_sae.metrics.supervised import SupervisedDictionary, shares
from pytest_sae.numbers.bootstrap import Floats, generator
from pytest_sae.numbers.estimate import Estimate

Ints = NDArray[np.int64]

_BATCH = 64


def measure(given: Given) -> list[Estimate]:
    """Return sufficiency, necessity, control, weight removed, F1, occlusion and over-splitting.

    Args:
        given: to measure from.
    """
    sizes, seed = PrincipledSizes(**given.counts), given.seed
    read, lost = [], {}
    for task in given.tasks.principled:
        try:
            read.append(read_task(given.latents, task, seed, sizes))
        except DataError as error:
            lost[task.name] = str(error)
    return estimates(read, seed, lost)


@dataclass(frozen=True, eq=False)
class _Half:
    """One half of a task's texts, run once.

    Args:
        texts: with their labels.
        prompts: at the site that is written.
        read: (text, d_in) at the site that is read.
        values: (text, attribute) numbers of the values, as the fitting half counts them.
        answers: (text,) the right token; `others`: (text,) the wrong one.
    """

    texts: Labelled
    prompts: Prompts
    read: Tensor
    values: Ints
    answers: Tensor
    others: Tensor

    @property
    def x(self) -> Floats:
        """(text, d_out) what stands at the places."""
        return self.prompts.rows.double().cpu().numpy()


def read_task(
    latents: Latents, task: AttributeTask, seed: int, sizes: PrincipledSizes
) -> TaskReadings:
    """Return all that is read on one task, per text and per edit.

    Args:
        latents: of the dictionary.
        task: one `[[principled]]` table.
        seed: the run's: it draws the edits.
        sizes: what is spent.
    """
    task, place = _placed(latents, task)
    attributes = range(len(task.attributes))
    numbers = [
        {value: i for i, value in enumerate(sorted({v[at] for v in task.fit.values}))}
        for at in attributes
    ]
    fit, test = (_half(latents, task, part, numbers) for part in (task.fit, task.test))
    features = supervised.fit(fit.x, fit.values)
    codes = PatchedCodes(latents.dictionary, torch.cat([fit.read, test.read]))
    edits = (
        _edits(latents, task, at, test, codes, len(fit.x), features, seed, sizes)
        for at in attributes
    )
    fires = (codes.z != 0).cpu().numpy()
    active = (fires[: len(fit.x)], fires[len(fit.x) :])
    return TaskReadings(
        task.name,
        len(set(test.texts.groups)),
        _answers(latents, test, features, np.array(test.texts.groups, np.int64)),
        [each for each in edits if each],
        [
            _values(task.attributes[at], at, list(numbers[at]), fit, test, active, features)
            for at in attributes
        ],
        task.dropped,
        place,
    )


def _placed(latents: Latents, task: AttributeTask) -> tuple[AttributeTask, dict[str, object]]:
    """Return the task with a place to read it at, and for the report how that was chosen."""
    if not task.automatic:
        return task, {}
    bos = latents.dictionary.info.prepend_bos is not False
    choice = attribution_patching.choose(
        latents.model, task, latents.written_site, latents.context, bos
    )
    told: dict[str, object] = {"read_at": choice.place, "shares": dict(choice.shares)}
    return attribution_patching.placed(task, choice.place), told


def _half(
    latents: Latents, task: AttributeTask, part: Labelled, numbers: Sequence[Mapping[str, int]]
) -> _Half:
    """Run a half's texts."""
    tokenizer, bos = latents.model.tokenizer, latents.dictionary.info.prepend_bos is not False
    places = places_of(part.texts, part.words, tokenizer, bos)
    answers = next_tokens(part.texts, part.answers, tokenizer)
    others = next_tokens(part.texts, part.others, tokenizer)
    for text, *found in zip(part.texts, places, answers, others, strict=True):
        if None in found:
            raise DataError(
                f"Task {task.name}: {text[:80]!r} has no token of its own for its place, answer or "
                "wrong answer. Expected a text that the tokenizer does not join with what follows."
            )
    prompts = Prompts.of(latents.written(part.texts), [int(place or 0) for place in places])
    read = prompts.rows
    if latents.writes_elsewhere:
        read = rows_at(latents.tokens(part.texts), [int(place or 0) for place in places])
    values = [
        [known[value] for value, known in zip(row, numbers, strict=True)] for row in part.values
    ]
    return _Half(
        part,
        prompts,
        read,
        np.array(values, np.int64),
        torch.tensor([token or 0 for token in answers]),
        torch.tensor([token or 0 for token in others]),
    )


@torch.no_grad()
def _answers(latents: Latents, test: _Half, features: SupervisedDictionary, group: Ints) -> Answers:
    x, dictionary = test.prompts.rows.double(), latents.dictionary
    mean = torch.from_numpy(features.mean).to(x.device).expand_as(x)
    own = reconstructed(test.read, dictionary).double().to(x.device)
    ideal = torch.from_numpy(features.reconstruct(test.values)).to(x.device)

    def difference(rows: Tensor) -> Floats:
        logits = _next(test.prompts, torch.arange(len(x)), rows)
        texts = torch.arange(len(x))
        apart = logits[texts, test.answers] - logits[texts, test.others]
        return apart.double().cpu().numpy()

    return Answers(
        group,
        difference(x),
        difference(mean),
        {"own": difference(own), "supervised": difference(ideal)},
        {"own": difference(x - own + mean), "supervised": difference(x - ideal + mean)},
    )


@torch.no_grad()
def _edits(
    latents: Latents,
    task: AttributeTask,
    place: int,
    test: _Half,
    codes: PatchedCodes,
    offset: int,
    features: SupervisedDictionary,
    seed: int,
    sizes: PrincipledSizes,
) -> Edits | None:
    """Edit one attribute by latents and by supervised features; None without counterfactuals."""
    pairs = counterfactuals(test.texts, place)
    if not pairs:
        return None
    rng = generator(seed, "principled", task.name, task.attributes[place])
    base = rng.permutation(np.array(sorted(pairs), np.int64))[: sizes.edits]
    other = np.array([int(rng.choice(pairs[int(each)])) for each in base], np.int64)
    x, one, two = test.prompts.rows.double(), torch.from_numpy(base), torch.from_numpy(other)
    wanted = _next(test.prompts, one, x[two]).double().log_softmax(-1)

    def apart(rows: Tensor) -> Floats:
        logs = _next(test.prompts, one, rows).double().log_softmax(-1)
        return (wanted.exp() * (wanted - logs)).sum(-1).clamp_min(0).cpu().numpy()

    # Where they depend on the token, good enough to choose latents by.
    rows = rows_of(latents.written_rows(test.texts.texts), codes.latents.cpu().numpy())
    z = codes.z[offset:].double().cpu().numpy()
    chosen = principled.exchange(x[two].sub(x[one]).cpu().numpy(), z[base], z[other], rows, max(KS))
    edited, weight = {}, {}
    centred = _centred(latents, test, base)
    for k in KS:
        mask = _mask(chosen[:k], z.shape[1])
        change = codes.exchanged(one + offset, two + offset, torch.from_numpy(mask))
        edited[k] = apart(x[one] + change.double().to(x.device))
        gone = (z[base] * mask) @ rows
        weight[k] = shares((gone * centred).sum(1), centred)
    before, after = test.values[base, place], test.values[other, place]
    return Edits(
        task.attributes[place],
        np.array(test.texts.groups, np.int64)[base],
        before,
        apart(x[one]),
        edited,
        apart(x[one] + torch.from_numpy(features.edit(place, before, after)).to(x.device)),
        weight,
        features.removed(place, test.values[base]),
    )


def _values(
    attribute: str,
    place: int,
    names: Sequence[str],
    fit: _Half,
    test: _Half,
    active: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    features: SupervisedDictionary,
) -> Values:
    """Pick latents on the fitting half and see how well they tell values on the other."""
    count, known, asked = len(names), fit.values[:, place], test.values[:, place]
    group = np.array(test.texts.groups, np.int64)
    groups = len(set(test.texts.groups))
    best = principled.best_latents(active[0], known, count)
    guesses = features.guesses(place, test.x)[:, None] == np.arange(count)
    own = principled.specific(active[0], known, count)
    return Values(
        attribute,
        names,
        group,
        {
            "own": principled.f1_counts(
                principled.predictions(active[1], best), asked, count, group, groups
            ),
            "supervised": principled.f1_counts(guesses, asked, count, group, groups),
        },
        asked,
        principled.covering(active[1], asked, own),
    )


def _next(prompts: Prompts, texts: Tensor, rows: Tensor) -> Tensor:
    """Return the logits (n, vocab) after texts with rows in place, where the model is."""
    return torch.cat(
        [
            prompts.logits(some, part.to(prompts.rows.dtype))
            for some, part in zip(texts.split(_BATCH), rows.split(_BATCH), strict=True)
        ]
    )


def _centred(latents: Latents, test: _Half, base: Ints) -> Floats:
    """Return the reconstructions without their constant part, (edit, d_out)."""
    dictionary = latents.dictionary
    x = test.read[torch.from_numpy(base)].to(dictionary.device, dictionary.dtype)
    return (reconstructed(x, dictionary) - dictionary.const(x)).double().cpu().numpy()


def _mask(chosen: Ints, width: int) -> Floats:
    mask = np.zeros((chosen.shape[1], width))
    for row in chosen:
        there = np.flatnonzero(row >= 0)
        mask[there, row[there]] = 1
    return mask
