"""Dictionaries of the planted model, and the tasks on it, as a run has them.

panel(planted, cache) -> list[Code]      # of `concept_panels`, and what is made of the truth
tasks(planted, seed) -> Tasks
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache, cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks import concept_panels
from benchmarks.concept_panels import Code
from benchmarks.concept_worlds import Ints, Kind
from benchmarks.planted_model import ATTRIBUTES, CYCLE, ENTITY, LENGTH, TOPICS, Planted, Word
from pytest_sae.data.attributes import AttributeTask, Labelled
from pytest_sae.data.entities import Entity, EntityTask, Template
from pytest_sae.data.tasks import Corpus, Spelling, Tasks
from pytest_sae.dictionaries.affine import AffineDictionary
from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.judge.rule_based import Lexicon
from pytest_sae.judge.rule_based.lexicon import Category
from pytest_sae.numbers.bootstrap import generator
from pytest_sae.synthetic.worlds import Sample

WIDTH, K = 160, 6  # of the trained ones: fewer latents than there are words
ABSORBED = (0.33, 0.67)  # shares of the words whose own latents carry their letter
_FILLERS = 6  # words in front of an entity, in either half
_PIECE = 1024  # activations looked up at once


class PlantedWorld:
    """The model's site as a world that dictionaries are trained on.

    Args:
        planted: the model.
        about: beginnings of the names of the features that count, none for all that say more
            than which word it is.
    """

    def __init__(self, planted: Planted, about: tuple[str, ...] = ()) -> None:
        self.planted = planted
        self._about = about
        self.spec = Kind("planted", WIDTH, planted.rows.shape[1], planted.seed, k=K)

    @property
    def rows(self) -> Tensor:
        """(F, d_model) the true directions."""
        return self.planted.rows

    @property
    def asked(self) -> Ints:
        """Features that count."""
        names = self.planted.names
        fit = [each for each in self.planted.asked if names[each].startswith(self._about or "")]
        return np.array(fit, np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """Of the model."""
        mark = self.planted.model.fingerprint
        return hashlib.sha256(f"{mark} {self.spec}".encode()).hexdigest()

    def sample(self, tokens: int, seed: int, purpose: str) -> Sample:
        """Draw tokens of texts."""
        return _drawn(self.planted, tokens, seed, purpose)


@lru_cache(maxsize=2)
def _drawn(planted: Planted, tokens: int, seed: int, purpose: str) -> Sample:
    number = int(generator(seed, "planted", purpose).integers(2**31))
    texts = planted.corpus(-(-tokens // LENGTH) + 20, number)
    features = torch.cat([truth(planted, text) for text in texts])[:tokens]
    return Sample(features, features @ planted.rows)


def truth(planted: Planted, text: str) -> Tensor:
    """Return (token, F) what is true of a text's words, BOS left out."""
    spelled = _spelled(planted)
    topic, entity, found = None, None, []
    for word in (spelled[each] for each in text.split()):
        topic = word.about if word.kind == CYCLE + 3 else topic
        entity = word if word.values else entity
        found.append(planted.features(word, topic, entity if word.asks is not None else None))
    return torch.stack(found)


@cache
def _spelled(planted: Planted) -> dict[str, Word]:
    return {word.text: word for word in planted.words}


def panel(planted: Planted, cache: Path) -> list[Code]:
    """Return trained dictionaries at all steps, the truth and what is made of it, and controls."""
    world = PlantedWorld(planted)
    found = [c for c in concept_panels.unsupervised(world, cache) if c.name != "oracle"]
    return [*found, *of_truth(planted)]


def of_truth(planted: Planted) -> Iterator[Code]:
    """Give the truth, rotated, split and with letters absorbed."""
    x, features = planted.known
    yield Code("oracle", "oracle", _looked_up(x, features), planted.rows)
    yield _rotated(planted)
    yield _split(planted)
    for share in ABSORBED:
        yield absorbing(planted, share)


def _looked_up(x: Tensor, codes: Tensor) -> concept_panels.Encode:
    """Give each activation the codes of the nearest one that there can be."""

    def encode(tokens: Tensor) -> Tensor:
        parts = tokens.split(_PIECE)
        return torch.cat([codes[torch.cdist(part, x).argmin(1)] for part in parts])

    return encode


def _rotated(planted: Planted) -> Code:
    """Two features that have nothing to do with each other, in their sum and their difference."""
    x, features = planted.known
    z, rows = features.clone(), planted.rows.clone()
    order = generator(planted.seed, "planted", "rotated").permutation(planted.asked)
    one, two = order[0 : len(order) // 2 * 2 : 2], order[1::2]
    half = 0.5**0.5
    for whole, axis in ((z.T, 0), (rows, 0)):
        first, second = whole[one].clone(), whole[two].clone()
        whole.index_copy_(axis, torch.as_tensor(one), half * (first + second))
        whole.index_copy_(axis, torch.as_tensor(two), half * (first - second))
    return Code("truth rotated in pairs", "broken", _looked_up(x, z), rows)


def _split(planted: Planted) -> Code:
    """Every feature in two latents, one for every other word."""
    x, features = planted.known
    own = features[:, len(planted.asked) :].argmax(1) % 2 > 0
    asked = features[:, : len(planted.asked)]
    z = torch.cat([features, asked * own[:, None]], dim=1)
    z[:, : len(planted.asked)] *= ~own[:, None]
    rows = torch.cat([planted.rows, planted.rows[: len(planted.asked)]])
    return Code("truth split", "broken", _looked_up(x, z), rows)


def absorbing(planted: Planted, share: float) -> Code:
    """The truth, but for a share of the words, whose own latents carry their first letter.

    Args:
        planted: the model.
        share: of the words.
    """
    x, features = planted.known
    z, rows = features.clone(), planted.rows.clone()
    order = generator(planted.seed, "planted", "absorbed").permutation(len(planted.words))
    for place in order[: round(share * len(order))]:
        word = planted.words[place]
        own = planted.number(f"word {word.text}")
        letter = planted.number(f"letter {word.text[0].upper()}")
        there = z[:, own] > 0
        both = planted.features(word)[[own, letter]] @ planted.rows[[own, letter]]
        rows[own] = normalize(both, dim=0)
        z[there, own], z[there, letter] = both.norm(), 0.0
    return Code(f"letters of {share:.0%} of the words absorbed", "broken", _looked_up(x, z), rows)


def dictionary(planted: Planted, code: Code) -> AffineDictionary:
    """Return a code as a dictionary of the package.

    Args:
        planted: the model.
        code: of its panel.
    """
    x = _look(planted)
    with torch.no_grad():
        bias = x.mean(0) - code.encode(x).mean(0) @ code.rows
    info = DictionaryInfo(code.name, "bench", None, None, None, prepend_bos=True)
    name = hashlib.sha256(f"{planted.model.fingerprint} {code.name}".encode()).hexdigest()
    return AffineDictionary(code.encode, code.rows, bias, None, info, name)


@cache
def _look(planted: Planted) -> Tensor:
    return PlantedWorld(planted).sample(4000, 0, "look").x


def tasks(planted: Planted, seed: int) -> Tasks:
    """Return what a run measures on: a corpus, entities, attributes and words to spell.

    Args:
        planted: the model.
        seed: of the texts.
    """
    return Tasks(
        Corpus(tuple(planted.corpus(600, 1000 + seed)), f"planted {seed}"),
        (),
        (),
        "the planted model",
        f"planted {seed}",
        ravel=(ravel_task(planted, seed),),
        principled=tuple(principled_task(planted, a, seed) for a in range(len(ATTRIBUTES))),
        spelling=Spelling(
            tuple(each.text for each in planted.words if each.kind <= ENTITY), examples=2
        ),
    )


def _fillers(planted: Planted, seed: int, purpose: str) -> list[str]:
    ordinary = [each.text for each in planted.words if each.kind == CYCLE - 1]
    order = generator(seed, "planted", purpose).permutation(len(ordinary))
    return [ordinary[place] for place in order[: 2 * _FILLERS]]


def ravel_task(planted: Planted, seed: int) -> EntityTask:
    """Half of the entities and of the words that ask to learn from, the others to test on."""
    order = generator(seed, "planted", "entities").permutation(len(planted.entities))
    known = [planted.entities[place] for place in order]
    fillers, half = _fillers(planted, seed, "ravel"), len(known) // 2
    entities = [Entity(e.text, tuple(planted.answer(a, e) for a in range(3))) for e in known]
    asked = [
        [Template(f"{filler} {{}} {planted.asking(a)[place]}", a) for a in range(3)]
        for place, filler in enumerate(fillers[:4])
    ]
    return EntityTask(
        "entities",
        tuple(ATTRIBUTES),
        {"train": tuple(entities[:half]), "test": tuple(entities[half:])},
        {"train": (*asked[0], *asked[1]), "test": (*asked[2], *asked[3])},
        "last",
        f"planted ravel {seed}",
    )


def principled_task(planted: Planted, attribute: int, seed: int) -> AttributeTask:
    """Entities in sentences that ask for one of their attributes."""
    name = list(ATTRIBUTES)[attribute]
    fillers = _fillers(planted, seed, f"principled {name}")
    fit = _labelled(planted, attribute, fillers[:_FILLERS], seed)
    test = _labelled(planted, attribute, fillers[_FILLERS:], seed + 1)
    return AttributeTask(name, tuple(ATTRIBUTES), fit, test, f"planted principled {name} {seed}")


def _labelled(planted: Planted, attribute: int, fillers: Sequence[str], seed: int) -> Labelled:
    rng = generator(seed, "planted", "labelled", str(attribute))
    count = len(planted.entities)
    rows = []
    for group, filler in enumerate(fillers):
        asking = planted.asking(attribute)[group % len(planted.asking(attribute))]
        for place in rng.permutation(count)[: count // 2]:
            entity = planted.entities[place]
            right = planted.answer(attribute, entity)
            wrong = {planted.answer(attribute, e) for e in planted.entities} - {right}
            rows.append((f"{filler} {entity.text} {asking}", entity, right, group,
                         str(rng.choice(sorted(wrong)))))  # fmt: skip
    return Labelled(
        tuple(row[0] for row in rows),
        tuple(tuple(map(str, row[1].values)) for row in rows),
        tuple(row[2] for row in rows),
        tuple(row[4] for row in rows),
        tuple(row[3] for row in rows),
        None,
    )


def lexicon(planted: Planted) -> Lexicon:
    """Return what a judge knows who knows the truth: every feature, and the words that have it."""
    found = []
    for topic in range(TOPICS):
        about = [w for w in planted.words if w.about == topic]
        name = f"topic {topic}"
        found.append(_category("topic", name, f"words about {name}", name, about))
    for kind in range(CYCLE + 4):
        own = [w for w in planted.words if w.kind == kind]
        found.append(_category("class", f"class {kind}", f"words of class {kind}", "", own))
    for place, (name, count) in enumerate(ATTRIBUTES.items()):
        asks = [w for w in planted.words if w.asks == place]
        found.append(_category("asks", name, f"words that ask for {name}", "", asks))
        for value in range(count):
            own = [w for w in planted.entities if w.values[place] == value]
            what = f"{name} {value}"
            found.append(_category(name, what, f"names with {what}", "", own))
    return Lexicon(tuple(found))


def _category(family: str, name: str, says: str, about: str, words: Sequence[Word]) -> Category:
    aliases = (frozenset(says.split()),)
    return Category(family, name, says, about, aliases, {word.text: 1.0 for word in words})
