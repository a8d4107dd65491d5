"""What a rule's latent does on texts: contexts to explain it from, others to test explanations on.

known(texts, rules, seed) -> list[KnownContexts]
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pytest_sae.activations.contexts import Context
from pytest_sae.errors import DataError
from pytest_sae.judge.calibration.latent_rules import LatentRule
from pytest_sae.judge.calibration.predicates import ENDS, Predicate
from pytest_sae.numbers.bootstrap import generator

WIDTH = 32
SHOWN = 10  # activating contexts that the latent is explained and rated from
SCORED = 10  # activating contexts that explanations are tested on, and as many others

_PIECE = re.compile(r"\s*(?:[^\W_]|['\u2019])+|\s*\S")


@dataclass(frozen=True)
class KnownContexts:
    """A latent whose truth is known, and its contexts.

    Args:
        rule: what it follows.
        shown: activating contexts, to explain and rate it from.
        scored: contexts of other texts, half of them activating, in an order that does not tell.
        truth: (scored context,) whether it activates.
    """

    rule: LatentRule
    shown: tuple[Context, ...]
    scored: tuple[Context, ...]
    truth: tuple[bool, ...]


@dataclass(frozen=True)
class _Window:
    """Whole sentences of one text.

    Rules look no further than the sentence, so what a window shows decides the activations.
    """

    document: int
    pieces: tuple[str, ...]
    words: tuple[str, ...]
    topic: str
    explaining: bool
    place: int  # a hash of its text

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def activations(self, active: Predicate) -> tuple[float, ...]:
        return tuple(
            float(active(self.words, place, self.topic)) for place in range(len(self.words))
        )

    def fires(self, active: Predicate) -> bool:
        return any(active(self.words, place, self.topic) for place in range(len(self.words)))

    def context(self, active: Predicate) -> Context:
        return Context(self.document, self.pieces, self.activations(active))


def known(
    texts: Iterable[tuple[str, str]], rules: Sequence[LatentRule], seed: int
) -> list[KnownContexts]:
    """Return the rules' latents on these texts.

    Texts are split in two halves by a hash of (seed, text): one for explaining, one for scoring.
    The order of the texts or of the rules changes no context. Half of the contexts without any
    activation are hard: the description that is easily mistaken for the true one fits them.

    Args:
        texts: with their topics.
        rules: from `latent_rules.RULES`.
        seed: the run's.

    Raises:
        DataError: too few contexts for a rule.
    """
    windows = _distinct(
        window for place, text in enumerate(texts) for window in _windows(place, *text, seed)
    )
    return [_known(rule, windows, seed) for rule in rules]


def _known(rule: LatentRule, windows: Sequence[_Window], seed: int) -> KnownContexts:
    turn = int(generator(seed, "judge_calibration", rule.name).integers(2**63))
    windows = sorted(windows, key=lambda window: window.place ^ turn)
    true, near = rule.true.active, rule.near.active
    scoring = [window for window in windows if not window.explaining]
    shown = _take(rule, SHOWN, (w for w in windows if w.explaining), lambda w: w.fires(true))
    firing = _take(rule, SCORED, scoring, lambda w: w.fires(true))
    hard = _take(rule, SCORED // 2, scoring, lambda w: w.fires(near) and not w.fires(true))
    rest = (window for window in scoring if window not in hard)
    silent = _take(rule, SCORED - len(hard), rest, lambda w: not w.fires(true))
    scored = sorted(
        [*firing, *hard, *silent],
        # A hash of its own: windows chosen one after the other have hashes that are alike.
        key=lambda w: generator(seed, "judge_calibration", rule.name, w.text).random(),
    )
    return KnownContexts(
        rule,
        tuple(window.context(true) for window in shown),
        tuple(window.context(true) for window in scored),
        tuple(window in firing for window in scored),
    )


def _take(
    rule: LatentRule, count: int, windows: Iterable[_Window], wanted: Callable[[_Window], bool]
) -> list[_Window]:
    found = list(islice(filter(wanted, windows), count))
    if len(found) < count:
        raise DataError(
            f"The calibration rule {rule.name!r} has {len(found)} contexts of a kind of which it "
            f"needs {count}. Expected texts with {rule.true.text}, and others without: use more "
            "texts."
        )
    return found


def _distinct(windows: Iterable[_Window]) -> list[_Window]:
    """Return the windows whose text occurs once: the two halves share none."""
    listed = list(windows)
    counts = Counter(window.text for window in listed)
    return [window for window in listed if counts[window.text] == 1]


def _windows(document: int, text: str, topic: str, seed: int) -> Iterator[_Window]:
    explaining = generator(seed, "judge_calibration", "half", text).random() < 0.5
    for pieces in _packed(_sentences(_PIECE.findall(text))):
        pieces[0] = pieces[0].lstrip()
        place = generator(seed, "judge_calibration", "".join(pieces)).integers(2**63)
        words = tuple(piece.strip() for piece in pieces)
        yield _Window(document, tuple(pieces), words, topic, explaining, int(place))


def _sentences(pieces: Sequence[str]) -> Iterator[list[str]]:
    sentence: list[str] = []
    for piece in pieces:
        sentence.append(piece)
        if piece.strip() in ENDS:
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _packed(sentences: Iterable[list[str]]) -> Iterator[list[str]]:
    """Join sentences while they fit; one that is too long by itself is left out."""
    window: list[str] = []
    for sentence in sentences:
        if len(window) + len(sentence) > WIDTH:
            if window:
                yield window
            window = []
        if len(sentence) <= WIDTH:
            window += sentence
    if window:
        yield window
