"""RAVEL of one dictionary: masks trained and judged with the layers above the site alone.

measure(given) -> list[Estimate]
outcomes(latents, tasks, seed, sizes) -> (list[Outcome], {attribute: why it has none})
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.activations.latents import Latents
from pytest_sae.activations.patching import PatchedCodes, Prompts, next_tokens, places_of, rows_at
from pytest_sae.activations.store import Tensors
from pytest_sae.data.entities import SPLITS, Entity, EntityTask, RavelSizes, Split, Template
from pytest_sae.measure.given import Given
from pytest_sae.metrics import ravel
from pytest_sae.metrics.ravel import InterchangePairs, MaskSchedule, Outcome
from pytest_sae.numbers.bootstrap import generator
from pytest_sae.numbers.estimate import Estimate

Item = TypeVar("Item", Entity, Template)

VERSION = "1"  # part of the cache key of what the model answers

REACHED = 0.5  # of the answers must follow the whole activation, or the model reads none of it
_BATCH = 64
_PROBED = 200  # training pairs on which that is found out


def measure(given: Given) -> list[Estimate]:
    """Return ravel, ravel.disentangle, ravel.cause and ravel.isolation over the tasks.

    Args:
        given: to measure from.
    """
    sizes, seed = RavelSizes(**given.counts), given.seed
    return ravel.estimates(*outcomes(given.latents, given.tasks.ravel, seed, sizes), seed)


def outcomes(
    latents: Latents, tasks: Sequence[EntityTask], seed: int, sizes: RavelSizes
) -> tuple[list[Outcome], dict[str, str]]:
    """Train masks for each attribute and see what they do to unseen entities.

    Args:
        latents: of the dictionary.
        tasks: the `[[ravel]]` tables.
        seed: the run's.
        sizes: what is spent.

    Returns:
        What came of it, and for other attributes why nothing can.
    """
    found: list[Outcome] = []
    missing: dict[str, str] = {}
    for task in tasks:
        asked = Asked.of(latents, task, seed, sizes)
        for place, attribute in enumerate(task.attributes):
            name = f"{task.name}.{attribute}"
            each = _outcome(asked, place, name, seed, sizes)
            if isinstance(each, Outcome):
                found.append(each)
            else:
                missing[name] = each
    return found, missing


@dataclass(frozen=True, eq=False)
class Asked:
    """A task's prompts, run once: what they ask, and what the model answers.

    Args:
        task: whose prompts they are.
        prompts: at the site that is written.
        codes: of the activations at their places.
        entity: (prompt,) index of the entity, over both splits.
        template: (prompt,) index of the template, over both splits.
        about: (prompt,) index of the attribute that is asked for.
        values: (prompt, attribute) codes of the entity's values.
        target: (prompt,) the right token.
        taught: (mask, prompt) whether it is one of those that each mask is trained on.
        test: (prompt,) whether it belongs to the test split.
        right: (prompt,) whether the model answers it rightly.
        dropped: prompts whose answer or place no token marks.
    """

    task: EntityTask
    prompts: Prompts
    codes: PatchedCodes
    entity: NDArray[np.int64]
    template: NDArray[np.int64]
    about: NDArray[np.int64]
    values: NDArray[np.int64]
    target: NDArray[np.int64]
    taught: NDArray[np.bool_]
    test: NDArray[np.bool_]
    right: NDArray[np.bool_]
    dropped: int

    @classmethod
    def of(cls, latents: Latents, task: EntityTask, seed: int, sizes: RavelSizes) -> Asked:
        """Write the prompts, find what is right and where, and run them."""
        cells = _cells(task, seed, sizes)
        texts = [cell.template.of(cell.entity) for cell in cells]
        tokenizer, bos = latents.model.tokenizer, latents.dictionary.info.prepend_bos is not False
        answers = [cell.entity.values[cell.template.attribute] for cell in cells]
        words = [cell.entity.name for cell in cells] if task.position == "entity" else None
        marked = zip(
            next_tokens(texts, answers, tokenizer),
            places_of(texts, words, tokenizer, bos),
            strict=True,
        )
        kept = [
            (cell, text, token, place)
            for cell, text, (token, place) in zip(cells, texts, marked, strict=True)
            if token is not None and place is not None
        ]
        places = [place for *_, place in kept]
        stream = [text for _, text, *_ in kept]
        prompts = Prompts.of(latents.written(stream), places)
        read = rows_at(latents.tokens(stream), places) if latents.writes_elsewhere else prompts.rows
        target = np.array([token for _, _, token, _ in kept], np.int64)
        return cls(
            task,
            prompts,
            PatchedCodes(latents.dictionary, read),
            _numbered([cell.entity for cell, *_ in kept]),
            _numbered([cell.template for cell, *_ in kept]),
            np.array([cell.template.attribute for cell, *_ in kept], np.int64),
            _values([cell.entity for cell, *_ in kept]),
            target,
            np.array(
                [
                    [cell.split == "train" and cell.template in templates for cell, *_ in kept]
                    for templates in (
                        _drawn(task, "train", fit, seed, sizes) for fit in range(sizes.masks)
                    )
                ]
            ),
            np.array([cell.split == "test" for cell, *_ in kept]),
            _answers(prompts) == target,
            len(cells) - len(kept),
        )

    def answer(self, base: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        """Return the logits (n, vocab) of base prompts with the source's value of latents."""
        rows = self.prompts.rows[base]
        change = self.codes.exchanged(base, source, mask)
        return self.prompts.logits(base, rows.to(change) + change)

    def swapped(self, base: Tensor, source: Tensor) -> Tensor:
        """Return the logits (n, vocab) of base prompts with the source's whole activation."""
        return self.prompts.logits(base, self.prompts.rows[source])

    def pairs(
        self, attribute: int, among: NDArray[np.bool_], rng: np.random.Generator, most: int
    ) -> InterchangePairs:
        """Draw pairs of some of the right prompts that differ in their entity alone.

        Their values of the attribute differ, and so do the answers' labels and tokens: otherwise
        no answer could tell whether anything was exchanged. Test entities are unseen, but the
        attribute's values are not: no mask can know the latents of a value that it never met.
        """
        met = np.isin(self.values[:, attribute], self.values[~self.test, attribute])
        members = np.flatnonzero(self.right & met & among)
        cause = self.about[members] == attribute
        drawn = [self._draw(members[kind], attribute, most, rng) for kind in (cause, ~cause)]
        base, source = (np.concatenate([each[side] for each in drawn]) for side in (0, 1))
        causes = self.about[base] == attribute
        target = np.where(causes, self.target[source], self.target[base])
        return InterchangePairs(base, source, target, self.entity[base], causes)

    def _draw(
        self, members: NDArray[np.int64], attribute: int, most: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        found: dict[tuple[int, int], None] = {}
        partners = {int(base): self._partners(int(base), members, attribute) for base in members}
        able = np.array([base for base in members if len(partners[int(base)])], np.int64)
        for _ in range(-(-most // max(1, len(able)))):
            for base in rng.permutation(able):
                found.setdefault((int(base), int(rng.choice(partners[int(base)]))))
        both = np.array(list(found)[:most], np.int64).reshape(-1, 2)
        return both[:, 0], both[:, 1]

    def _partners(self, base: int, members: NDArray[np.int64], attribute: int) -> NDArray[np.int64]:
        asked = self.about[base]
        fits = (
            (self.template[members] == self.template[base])
            & (self.values[members, attribute] != self.values[base, attribute])
            & (self.values[members, asked] != self.values[base, asked])
            & (self.target[members] != self.target[base])
        )
        chosen: NDArray[np.int64] = members[fits]
        return chosen


@dataclass(frozen=True)
class _Cell:
    entity: Entity
    template: Template
    split: Split


def _outcome(asked: Asked, place: int, name: str, seed: int, sizes: RavelSizes) -> Outcome | str:
    """Train masks and see what they do to unseen entities; or say why that is impossible."""
    taught = [
        asked.pairs(
            place, among, generator(seed, "ravel", name, "train", str(fit)), sizes.train_pairs
        )
        for fit, among in enumerate(asked.taught)
    ]
    taught = [each for each in taught if _both(each)]
    test = asked.pairs(place, asked.test, generator(seed, "ravel", name, "test"), sizes.test_pairs)
    for split, there in (("train", bool(taught)), ("test", _both(test))):
        if not there:
            return (
                f"the model answers {asked.right.mean():.0%} of {len(asked.right)} prompts right: "
                f"no {split} pair of right ones is left that asks for it, or none that does not"
            )
    reached = float(_whole(asked, taught[0].first_causes(_PROBED)).mean())
    if reached < REACHED:
        return (
            f"with the whole activation of another entity at the {asked.task.position} token, "
            f"{reached:.0%} of the answers follow it, and {REACHED:.0%} are needed: the model does "
            "not read it there"
        )
    width = len(asked.codes.latents)
    masks = [
        _mask(asked, train, sizes, generator(seed, "ravel", name, "batches", str(fit)))
        for fit, train in enumerate(taught)
    ]
    whole = _hits(asked, test, torch.ones(width))
    details = {
        "latents": [int(mask.sum()) for mask in masks],
        "latents_active": width,
        "whole_activation": reached,
        "train_pairs": [len(train) for train in taught],
        "prompts_right": float(asked.right.mean()),
        "prompts_dropped": asked.dropped,
        "all_latents": {
            kind: float(whole[own].mean())
            for kind, own in (("cause", test.cause), ("isolation", ~test.cause))
        },
    }
    masked = np.stack([_hits(asked, test, mask) for mask in masks])
    return Outcome(name, test, masked, _whole(asked, test), details)


def _both(pairs: InterchangePairs) -> bool:
    return bool(pairs.cause.any() and (~pairs.cause).any())


def _mask(
    asked: Asked, train: InterchangePairs, sizes: RavelSizes, rng: np.random.Generator
) -> Tensor:
    base, source = torch.from_numpy(train.base), torch.from_numpy(train.source)

    def answer(chosen: NDArray[np.int64], mask: Tensor) -> Tensor:
        return asked.answer(base[chosen], source[chosen], mask)

    with asked.prompts.stream.store.work.timed("ravel masks"):
        width, schedule = len(asked.codes.latents), MaskSchedule(steps=sizes.steps)
        return torch.from_numpy(ravel.train_mask(answer, train, width, rng, schedule)).float()


@torch.no_grad()
def _hits(asked: Asked, pairs: InterchangePairs, mask: Tensor) -> NDArray[np.bool_]:
    base, source = torch.from_numpy(pairs.base), torch.from_numpy(pairs.source)
    said = _said(len(pairs), lambda some: asked.answer(base[some], source[some], mask))
    hits: NDArray[np.bool_] = said.numpy() == pairs.target
    return hits


@torch.no_grad()
def _whole(asked: Asked, pairs: InterchangePairs) -> NDArray[np.bool_]:
    """Return (pair,) hits with the source's whole activation, the same for every dictionary."""
    base, source = torch.from_numpy(pairs.base), torch.from_numpy(pairs.source)

    def make() -> Tensors:
        swapped = _said(len(pairs), lambda some: asked.swapped(base[some], source[some]))
        return {"answers": swapped}

    drawn = hashlib.sha256(pairs.base.tobytes() + pairs.source.tobytes()).hexdigest()
    key = {**_key(asked.prompts, "ravel.whole"), "pairs": drawn}
    answers = asked.prompts.stream.store.get(key, make)["answers"].numpy()
    hits: NDArray[np.bool_] = answers == pairs.target
    return hits


@torch.no_grad()
def _answers(prompts: Prompts) -> NDArray[np.int64]:
    """Return the token that the model says after each prompt, the same for every SAE."""

    found = prompts.stream.store.get(
        _key(prompts, "ravel.answers"), lambda: {"answers": _said(len(prompts.x), prompts.logits)}
    )
    answers: NDArray[np.int64] = found["answers"].numpy()
    return answers


def _said(count: int, logits: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the most likely token at each of so many places, a batch at a time."""
    places = torch.arange(count).split(_BATCH)
    return torch.cat([logits(some).argmax(-1).cpu() for some in places])


def _key(prompts: Prompts, step: str) -> dict[str, object]:
    places = prompts.places.tolist()
    return {"step": step, "code": VERSION, "activations": prompts.stream.key, "places": places}


def _cells(task: EntityTask, seed: int, sizes: RavelSizes) -> list[_Cell]:
    """Every chosen entity in every template of its split that a mask is trained or judged on."""
    cells = []
    for split in SPLITS:
        entities = _few(task.entities[split], sizes.entities, task.name, seed)
        fits = range(sizes.masks) if split == "train" else range(1)
        drawn = (each for fit in fits for each in _drawn(task, split, fit, seed, sizes))
        templates = list(dict.fromkeys(drawn))
        cells += [_Cell(entity, template, split) for template in templates for entity in entities]
    return list({cell.template.of(cell.entity): cell for cell in cells}.values())


def _drawn(
    task: EntityTask, split: Split, fit: int, seed: int, sizes: RavelSizes
) -> list[Template]:
    """Return the templates of one mask: another one is trained on others, as far as there are."""
    name = f"{task.name} {fit}" if fit else task.name
    return [
        template
        for place in range(len(task.attributes))
        for template in _few(
            [t for t in task.templates[split] if t.attribute == place], sizes.templates, name, seed
        )
    ]


def _few(items: Sequence[Item], most: int, task: str, seed: int) -> list[Item]:
    """Return some of the items, chosen by a hash of (seed, task, item) and not by position."""

    def rank(item: Item) -> bytes:
        name = item.name if isinstance(item, Entity) else item.text
        return hashlib.sha256(f"{seed} ravel {task} {name}".encode()).digest()

    chosen = sorted(items, key=rank)[:most]
    return [item for item in items if item in chosen]


def _numbered(items: Sequence[Hashable]) -> NDArray[np.int64]:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(item, len(numbers)) for item in items], np.int64)


def _values(entities: Sequence[Entity]) -> NDArray[np.int64]:
    columns = zip(*(entity.values for entity in entities), strict=True)
    return np.stack([_numbered(column) for column in columns], axis=1)
