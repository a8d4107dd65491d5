"""Where in a model the attributes of a task act: attribution patching, without knowing a circuit.

find(model, task, context, prepend_bos, sites, pairs) -> list[SiteScore]
choose(model, task, site, context, prepend_bos) -> ReadPosition        # at one site: the best place

SAGE (arXiv 2410.07456) finds the places at which to fit supervised dictionaries by attribution
patching (Nanda 2023): the change of an activation from a text to its counterfactual, times the
gradient of the logit difference there, is the first-order effect of putting it in place. Two
passes and one backward pass give all sites and all places at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from pytest_sae.activations.patching import next_tokens, places_of
from pytest_sae.data.attributes import AttributeTask, Labelled, counterfactuals
from pytest_sae.errors import DataError
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.site import Site
from pytest_sae.models.splice import edited
from pytest_sae.models.tokenize import Batch, batches

LAST = "last"
_PAIRS = 32


@dataclass(frozen=True)
class SiteScore:
    """How much of an attribute's effect passes through a site at a place.

    Args:
        attribute: whose values are exchanged.
        site: hook name.
        place: `last`, or the attribute at the last token of whose word the site is read.
        effect: mean over pairs of the absolute first-order change of the logit difference.
        share: effect over the largest one of the attribute, in [0, 1].
    """

    attribute: str
    site: str
    place: str
    effect: float
    share: float


def find(
    model: LanguageModel,
    task: AttributeTask,
    context: int,
    prepend_bos: bool,
    sites: Sequence[str] | None = None,
    pairs: int = _PAIRS,
) -> list[SiteScore]:
    """Return every site and place with its effect, for each attribute the largest first.

    Args:
        model: predicts the answers.
        task: its fitting half alone is used, so that what is measured on the other is unspoilt.
        context: tokens per text at most.
        prepend_bos: whether texts begin with BOS.
        sites: hook names of the stream between blocks; None: the output of every block.
        pairs: texts and counterfactuals per attribute, at most.

    Raises:
        DataError: a text without tokens of its own for the answers, or one that is cut.
        ModelError: an encoder, which predicts nothing.
    """
    names = list(sites or (f"blocks.{layer}.hook_resid_post" for layer in range(model.layers)))
    found = []
    for number, attribute in enumerate(task.attributes):
        chosen = [
            (base, others[0]) for base, others in sorted(counterfactuals(task.fit, number).items())
        ]
        step = max(1, len(chosen) // pairs)
        chosen = chosen[::step][:pairs]
        if not chosen:
            continue
        effects = _effects(model, task, chosen, context, prepend_bos, names)
        most = max(effects.values()) or 1.0
        scores = [
            SiteScore(attribute, name, place, effect, effect / most)
            for (name, place), effect in effects.items()
        ]
        found += sorted(scores, key=lambda score: -score.effect)
    return found


@dataclass(frozen=True)
class ReadPosition:
    """Where in the texts a site is read.

    Args:
        place: `last`, or the attribute at the last token of whose word it is.
        shares: by place, the share of the largest effect at this site, a mean over attributes.
    """

    place: str
    shares: Mapping[str, float]


def choose(
    model: LanguageModel, task: AttributeTask, site: Site, context: int, prepend_bos: bool
) -> ReadPosition:
    """Return the place at which the attributes act most through a site, of those in every text.

    Args:
        model: predicts the answers.
        task: its fitting half alone decides.
        site: of the stream between blocks.
        context: tokens per text at most.
        prepend_bos: whether texts begin with BOS.

    Raises:
        DataError: another kind of site, through which more than one place acts at once.
    """
    if not site.stream:
        raise DataError(
            f'Task {task.name} has place = "auto", which asks where attributes act in the stream '
            f"between blocks; {site.hook_name} is not in it. Expected the name of a column, or no "
            "place for the end of the text."
        )
    scores = find(model, task, context, prepend_bos, [site.hook_name])
    places = [LAST, *(each for each in task.attributes if _everywhere(model, task, each))]
    shares = {
        place: sum(score.share for score in scores if score.place == place) / len(task.attributes)
        for place in places
    }
    return ReadPosition(max(places, key=lambda place: shares[place]), shares)


def placed(task: AttributeTask, place: str) -> AttributeTask:
    """Return a task that is read at a place: `last`, or an attribute's word.

    Args:
        task: with attributes and their words.
        place: `last`, or the name of an attribute.
    """
    if place == LAST:
        return replace(task, automatic=False)
    number = task.attributes.index(place)
    fit, test = (
        replace(half, words=tuple(values[number] for values in half.values))
        for half in (task.fit, task.test)
    )
    return replace(task, fit=fit, test=test, automatic=False)


def _everywhere(model: LanguageModel, task: AttributeTask, attribute: str) -> bool:
    """Whether an attribute's value is a word of every text, of both halves."""
    there = placed(task, attribute)
    return all(
        place is not None
        for half in (there.fit, there.test)
        for place in places_of(half.texts, half.words, model.tokenizer, False)
    )


def _effects(
    model: LanguageModel,
    task: AttributeTask,
    pairs: Sequence[tuple[int, int]],
    context: int,
    prepend_bos: bool,
    names: Sequence[str],
) -> dict[tuple[str, str], float]:
    """Mean absolute effect by (site, place); places that some text of a pair lacks are left out."""
    sides = [sorted(set(side)) for side in zip(*pairs, strict=True)]
    texts = sorted({*sides[0], *sides[1]})
    order = {text: row for row, text in enumerate(texts)}
    where = _places(model, task, [task.fit.texts[text] for text in texts], texts, prepend_bos)
    sites = [model.site(name) for name in names]
    states = _states(model, task.fit, texts, sites, context, prepend_bos, where)
    base, other = (torch.tensor([order[pair[side]] for pair in pairs]) for side in (0, 1))
    found = {}
    for place, columns in where.items():
        there = torch.tensor(columns) >= 0
        kept = there[base] & there[other]
        if not kept.any():
            continue
        for name in names:
            x, gradient = states[name, place]
            change = (x[other] - x[base]) * gradient[base]
            found[name, place] = float(change.sum(1)[kept].abs().mean())
    return found


def _places(
    model: LanguageModel,
    task: AttributeTask,
    texts: Sequence[str],
    rows: Sequence[int],
    prepend_bos: bool,
) -> dict[str, list[int]]:
    """Positions in each text of its end, and of each attribute's value where it stands there."""
    found = {LAST: [int(p or 0) for p in places_of(texts, None, model.tokenizer, prepend_bos)]}
    for number, attribute in enumerate(task.attributes):
        words = [task.fit.values[row][number] for row in rows]
        places = places_of(texts, words, model.tokenizer, prepend_bos)
        found[attribute] = [-1 if place is None else place for place in places]
    return found


def _states(
    model: LanguageModel,
    labelled: Labelled,
    rows: Sequence[int],
    sites: Sequence[Site],
    context: int,
    prepend_bos: bool,
    where: dict[str, list[int]],
) -> dict[tuple[str, str], tuple[Tensor, Tensor]]:
    """By (site, place): activations and gradients of the logit difference, (text, d) each."""
    texts = [labelled.texts[row] for row in rows]
    right = _tokens(model, texts, [labelled.answers[row] for row in rows])
    wrong = _tokens(model, texts, [labelled.others[row] for row in rows])
    kept: dict[tuple[str, str], list[tuple[Tensor, Tensor, Tensor]]] = {}
    for batch in batches(texts, model.tokenizer, context, prepend_bos):
        seen = gradients(model, batch, sites, right[batch.rows], wrong[batch.rows])
        lines = torch.arange(len(batch.rows))
        for place, columns in where.items():
            at = torch.tensor([columns[row] for row in batch.rows.tolist()])
            if bool((at >= batch.attention.sum(1)).any()):
                raise DataError(f"a text is longer than {context} tokens: take a larger context")
            for site in sites:
                x, gradient = (each[lines, at.clamp_min(0)] for each in seen[site])
                kept.setdefault((site.hook_name, place), []).append((batch.rows, x, gradient))
    return {key: _ordered(parts) for key, parts in kept.items()}


def gradients(
    model: LanguageModel, batch: Batch, sites: Sequence[Site], right: Tensor, wrong: Tensor
) -> dict[Site, tuple[Tensor, Tensor]]:
    """Return activations and gradients of the logit difference, (text, pos, d) each, by site.

    Args:
        model: its weights are frozen and get no gradient.
        batch: of texts.
        sites: of the stream between blocks, all read in one pass.
        right: (text,) token of the answer.
        wrong: (text,) token that it is compared with.
    """
    seen: dict[Site, Tensor] = {}

    def watch(site: Site, hidden: Tensor) -> Tensor:
        # A leaf at the first site, a part of the graph at those above it.
        seen[site] = hidden if hidden.requires_grad else hidden.detach().requires_grad_()
        return seen[site]

    with torch.enable_grad(), ExitStack() as stack:
        for site in sites:
            module = model.hf.get_submodule(site.module)
            stack.enter_context(edited(module, site.side, partial(watch, site)))
        logits = model.next_logits(batch).float()
        texts = torch.arange(len(right))
        difference = logits[texts, right] - logits[texts, wrong]
        slopes = torch.autograd.grad(difference.sum(), [seen[site] for site in sites])
    return {
        site: (seen[site].detach().cpu(), slope.cpu())
        for site, slope in zip(sites, slopes, strict=True)
    }


def _tokens(model: LanguageModel, texts: Sequence[str], answers: Sequence[str]) -> Tensor:
    found = next_tokens(texts, answers, model.tokenizer)
    for text, answer, token in zip(texts, answers, found, strict=True):
        if token is None:
            raise DataError(
                f"{text[-60:]!r} and {answer!r} are joined by the tokenizer. Expected an answer "
                "that begins with a token of its own: end the text before a space."
            )
    return torch.tensor([int(token or 0) for token in found])


def _ordered(parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    rows = torch.cat([part[0] for part in parts]).argsort()
    x, gradient = (torch.cat([part[side] for part in parts])[rows] for side in (1, 2))
    return x, gradient
