"""A run's own families on the worlds of many kinds, through the code that a run measures with.

measured(kind, cache) -> World      # of `concept_table`: by seed, by member, values and truths
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import concept_panels
from benchmarks.concept_panels import STEPS, Code
from benchmarks.concept_table import LAST, World, in_panel
from benchmarks.concept_worlds import (
    CLASSES,
    MULTIS,
    PAIRS,
    TOKENS,
    Ints,
    Kind,
    KindWorld,
    Labelled,
)
from pytest_sae.activations.store import Store
from pytest_sae.data.tasks import (
    ClassTask,
    ClassTexts,
    Contrast,
    Corpus,
    SpuriousTask,
    SpuriousTexts,
    Tasks,
)
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.families.registry import card_of, spec_of
from pytest_sae.measure.given import Given
from pytest_sae.measure.given import measured as measured_family
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.numbers.keys import metric_key
from pytest_sae.synthetic.latents import WorldLatents
from pytest_sae.synthetic.references import oracle
from pytest_sae.synthetic.texts import WorldTexts

FAMILIES = ("core", "erasure", "sparse_probing", "structure", "concepts")
ERASURES = 1  # tasks of each kind that `erasure` is read on: it takes the longest
CELL = (90, 60)  # texts of a cell or class, to train and to test on
RESEEDS = 2
_CORPUS = 400  # texts
_FITS = 2  # of every probe
_LEFT_OUT = f"@{STEPS[3]}"  # of the steps, which are four without it


def measured(kind: Kind, cache: Path) -> World:
    """Return every metric's value of every member, at seed 0 and, for a few, at others."""
    path = cache / f"families {kind.name}.json"
    if not path.is_file():
        world = KindWorld(kind)
        codes = [each for each in concept_panels.panel(world, cache) if in_short_panel(each.name)]
        few = [each for each in codes if each.name.endswith(LAST)][::2]
        found = {"0": _measure(world, codes, 0)}
        for seed in range(1, RESEEDS + 1):
            found[str(seed)] = _measure(world, few, seed)
        path.write_text(json.dumps(found), encoding="utf-8")
    read: World = json.loads(path.read_text(encoding="utf-8"))
    return read


def in_short_panel(name: str) -> bool:
    """Whether a code is in the panel here: as in that of definitions, with a step less."""
    return in_panel(name) and not name.endswith(_LEFT_OUT)


def _measure(world: KindWorld, codes: Sequence[Code], seed: int) -> dict[str, dict[str, Any]]:
    labelled = [world.pair(place, CELL, seed) for place in range(PAIRS)]
    labelled += [world.multi(place, CELL, seed) for place in range(MULTIS)]
    texts, tasks = book(world, labelled, seed)
    truth = world.sample(12_000, 5, "truth")
    probes = Store(None)  # what does not depend on the dictionary is made once
    found = {}
    for code in codes:
        made = dictionary(code, world, truth.x, [(texts.x, texts.features)])
        latents = WorldLatents(texts, f"{world.fingerprint} {seed}", made, probes)
        found[code.name] = {
            "kind": code.kind,
            "values": dict(values(latents, tasks, seed)),
            "truth": concept_panels.recovery(code, world, truth.x, truth.features),
        }
    return found


def book(world: KindWorld, labelled: Sequence[Labelled], seed: int) -> tuple[WorldTexts, Tasks]:
    """Return texts under names, and the tasks that are about them, as a run has them."""
    corpus = world.sample(_CORPUS * TOKENS, seed, "corpus")
    names = [_names("corpus", _CORPUS), *(_names(e.name, len(e.tokens)) for e in labelled)]
    shape = (_CORPUS, TOKENS, -1)
    texts = WorldTexts(
        tuple(name for each in names for name in each),
        torch.cat([corpus.features.reshape(shape), *(each.features for each in labelled)]),
        torch.cat([corpus.x.reshape(shape), *(each.tokens for each in labelled)]),
    )
    both = list(zip(labelled, names[1:], strict=True))
    mark = f"{world.fingerprint} {seed}"
    return texts, Tasks(
        Corpus(names[0], mark),
        tuple(_pair(each, own, mark) for each, own in both if each.labels.ndim == 2),
        tuple(_classes(each, own, mark) for each, own in both if each.labels.ndim == 1),
        f"world {world.spec.name}",
        mark,
    )


def _names(what: str, count: int) -> tuple[str, ...]:
    return tuple(f"{what} {place}" for place in range(count))


def _pair(texts: Labelled, names: tuple[str, ...], mark: str) -> SpuriousTask:
    one, two = texts.labels
    train, test = (
        SpuriousTexts(
            tuple(names[place] for place in places),
            tuple(map(bool, one[places])),
            tuple(map(bool, two[places])),
        )
        for places in _balanced(texts)
    )
    # Each of its own: what shares a column and its values would be read as one concept.
    first, second = (Contrast(f"{texts.name} {each}", "it", "not") for each in ("one", "two"))
    return SpuriousTask(texts.name, first, second, train, test, 0, f"{mark} {texts.name}")


def _classes(texts: Labelled, names: tuple[str, ...], mark: str) -> ClassTask:
    train, test = (
        ClassTexts(tuple(names[place] for place in places), tuple(map(int, texts.labels[places])))
        for places in _balanced(texts)
    )
    classes = tuple(f"class {place}" for place in range(CLASSES))
    return ClassTask(texts.name, texts.name, classes, train, test, 0, f"{mark} {texts.name}")


def _balanced(texts: Labelled) -> tuple[Ints, Ints]:
    """Places of as many texts of every cell: labels that are wrong have made some larger."""
    found = []
    for start, stop in ((0, texts.train), (texts.train, len(texts.cells))):
        cells = texts.cells[start:stop]
        least = np.bincount(cells).min()
        rank = np.array([(cells[:place] == cell).sum() for place, cell in enumerate(cells)])
        found.append(start + np.flatnonzero(rank < least))
    return found[0], found[1]


def dictionary(
    code: Code, world: KindWorld, x: Tensor, known: Sequence[tuple[Tensor, Tensor]]
) -> AffineDictionary:
    """Return a code as a dictionary of the package; the truth looks its features up.

    Args:
        code: of the panel.
        world: that it is of.
        x: (token, d) on which the constant is fitted.
        known: activations with their features, that the truth may be asked about.
    """
    if code.name == "oracle":
        return oracle(world, known)
    with torch.no_grad():
        bias = x.mean(0) - code.encode(x).mean(0) @ code.rows
    info = DictionaryInfo(code.name, "bench", None, None, None)
    name = hashlib.sha256(f"{world.fingerprint} {code.name}".encode()).hexdigest()
    return AffineDictionary(code.encode, code.rows, bias, None, info, name)


def values(latents: WorldLatents, tasks: Tasks, seed: int) -> Iterator[tuple[str, float | None]]:
    """Give every metric with a value at its setting; what is better lower, negated."""
    for name in FAMILIES:
        card = card_of(name)
        few = ERASURES if name == "erasure" else None
        asked = Tasks(
            tasks.corpus, tasks.scr[:few], tasks.tpp[:few], tasks.source, tasks.fingerprint
        )
        sizes = dict(card.sizes.get("standard", {}))
        sizes |= {"fits": _FITS} if "fits" in sizes else {}
        for each in measured_family(card, Given(latents, asked, seed, sizes)):
            if each.status not in ("not_applicable", "no_data"):
                yield metric_key(each.metric, each.params), signed(each)


def signed(estimate: Estimate) -> float | None:
    """Return a value with the sign that makes more of it better."""
    if estimate.value is None or not np.isfinite(estimate.value):
        return None
    down = spec_of(estimate.metric).direction == "lower"
    return -float(estimate.value) if down else float(estimate.value)
