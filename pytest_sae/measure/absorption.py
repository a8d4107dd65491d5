"""Absorption of one dictionary on the words of the model's vocabulary: one pass, one encode.

measure(given) -> list[Estimate]
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pytest_sae.activations.last_token import encode_rows, last_rows
from pytest_sae.activations.latents import Latents
from pytest_sae.data.tasks import Spelling
from pytest_sae.measure.given import Given
from pytest_sae.metrics.absorption import FOLDS, SpelledWords, absorbed, fit_letters, folds_of
from pytest_sae.metrics.absorption_estimates import MIN_LETTERS, NAMES, estimates
from pytest_sae.models.absent import AbsentModel
from pytest_sae.models.tokenize import Tokens, framed
from pytest_sae.numbers.bootstrap import generator
from pytest_sae.numbers.estimate import Estimate, not_applicable, undefined
from pytest_sae.probes import LinearProbes

VERSION = "1"  # part of the probes' cache key: raise it when the same words give other probes
FRAME = " has the first letter:"
FEWEST = 2 * FOLDS  # words of a letter: every fold and every part of its training words has some
MARKERS = ("Ġ", "▁")  # what byte-level and sentencepiece vocabularies write for a space


@dataclass(frozen=True)
class Vocabulary:
    """Words that are one token each.

    Args:
        words: distinct, sorted.
        ids: their tokens, with a space in front where the vocabulary tells them apart.
    """

    words: tuple[str, ...]
    ids: tuple[int, ...]

    @property
    def initials(self) -> NDArray[np.str_]:
        """(word,) first letters, in upper case."""
        return np.array([word[0].upper() for word in self.words])

    def take(self, places: NDArray[np.int64]) -> Vocabulary:
        """Return some of the words."""
        return Vocabulary(
            tuple(self.words[place] for place in places), tuple(self.ids[place] for place in places)
        )


def measure(given: Given) -> list[Estimate]:
    """Return the absorption figures.

    Args:
        given: to measure from.
    """
    latents, spelling, seed = given.latents, given.tasks.spelling, given.seed
    most = given.sizes["words"]
    if isinstance(latents.model, AbsentModel):
        reason = "the run is on recorded activations: words need the model"
        return [not_applicable(name, reason) for name in NAMES]
    if latents.in_context:
        return [not_applicable(name, latents.in_context) for name in NAMES]
    unusable = given.tasks.unusable("spelling")
    if unusable:
        return [undefined(name, unusable) for name in NAMES]
    if latents.dictionary.decoder_rows is None:
        reason = "what a latent writes depends on the token (the decoder is not affine)"
        return [not_applicable(name, reason) for name in NAMES]
    vocabulary = _enough(_chosen(_vocabulary(latents.model.tokenizer, spelling), seed, most))
    alphabet, letters = np.unique(vocabulary.initials, return_inverse=True)
    if len(alphabet) < MIN_LETTERS:
        return [undefined(name, _too_few(alphabet.tolist())) for name in NAMES]
    tokens = _prompts(latents, vocabulary, spelling.examples, seed)
    sites = list(dict.fromkeys((latents.site, latents.written_site)))
    read, *elsewhere = last_rows(latents.model, sites, tokens, latents.store)
    x = (elsewhere[0] if elsewhere else read).float().numpy()
    folds = folds_of(vocabulary.words, letters, seed)
    probes = _probes(latents, x, letters, folds, len(alphabet))
    z = encode_rows(latents.dictionary, read, latents.store.work)
    words = SpelledWords(letters, folds, x, z, latents.fixed_rows)
    return estimates(absorbed(words, probes), alphabet.tolist(), seed)


def why_not(tokenizer: Any, spelling: Spelling, most: int | None, seed: int) -> str:
    """Return why words of a vocabulary do not do for this family, empty where they do.

    Args:
        tokenizer: of the model.
        spelling: of the run's data.
        most: words that are taken at most.
        seed: of the choice.
    """
    vocabulary = _enough(_chosen(_vocabulary(tokenizer, spelling), seed, most))
    alphabet = sorted(set(vocabulary.initials))
    return "" if len(alphabet) >= MIN_LETTERS else _too_few(alphabet)


def _too_few(alphabet: Sequence[str]) -> str:
    return (
        f"{len(alphabet)} letters begin {FEWEST} or more one-token words: "
        f"{', '.join(alphabet) or 'none'}. Expected {MIN_LETTERS} or more: name a file of "
        "words in the [spelling] table of --sae-data"
    )


def _vocabulary(tokenizer: Any, spelling: Spelling) -> Vocabulary:
    found = {
        word: token
        for word, token in _word_tokens(tokenizer.get_vocab()).items()
        if len(word) > 1 and word.isascii() and word.isalpha()
    }
    if spelling.words is not None:
        wanted = set(spelling.words)
        found = {word: token for word, token in found.items() if word in wanted}
    words = tuple(sorted(found))
    return Vocabulary(words, tuple(found[word] for word in words))


def _word_tokens(tokens: dict[str, int]) -> dict[str, int]:
    """Tokens that begin a word: those with a mark for the space, or all where nothing is marked."""
    for marker in MARKERS:
        marked = {
            token[len(marker) :]: number
            for token, number in tokens.items()
            if token.startswith(marker)
        }
        if marked:
            return marked
    return tokens


def _chosen(vocabulary: Vocabulary, seed: int, most: int | None) -> Vocabulary:
    if most is None or len(vocabulary.words) <= most:
        return vocabulary
    order = generator(seed, "absorption", "chosen").permutation(len(vocabulary.words))
    return vocabulary.take(np.sort(order[:most]))


def _enough(vocabulary: Vocabulary) -> Vocabulary:
    """Drop letters with too few different words to be learned and tested in every fold."""
    initials = vocabulary.initials
    different = np.array([word.lower() for word in vocabulary.words])
    kept = [
        letter
        for letter in np.unique(initials)
        if len(np.unique(different[initials == letter])) >= FEWEST
    ]
    return vocabulary.take(np.flatnonzero(np.isin(initials, kept)))


def _prompts(latents: Latents, vocabulary: Vocabulary, examples: int, seed: int) -> Tokens:
    """Spelled examples, then the word, as token ids: what follows it would change nothing there."""
    tokenizer = latents.model.tokenizer
    rng = generator(seed, "absorption", "prompts")
    answers = {
        letter: tokenizer(f"{FRAME} {letter}\n", add_special_tokens=False)["input_ids"]
        for letter in sorted(set(vocabulary.initials.tolist()))
    }
    initials = vocabulary.initials.tolist()
    bodies = []
    for word, token in enumerate(vocabulary.ids):
        drawn = rng.choice(len(vocabulary.ids) - 1, examples, replace=False)
        others = drawn + (drawn >= word)  # a word is no example of itself
        body = [
            piece
            for other in others
            for piece in (vocabulary.ids[other], *answers[initials[other]])
        ]
        bodies.append([*body, token])
    bos = latents.dictionary.info.prepend_bos is not False
    longest = max(len(body) for body in bodies) + 8
    return framed(bodies, tokenizer, longest, bos)


def _probes(
    latents: Latents,
    x: NDArray[np.float32],
    letters: NDArray[np.int64],
    folds: NDArray[np.int64],
    count: int,
) -> LinearProbes:
    """Fit the letters' probes once per model, site and seed."""
    parts = (x, letters, folds)
    seen = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))

    def make() -> dict[str, torch.Tensor]:
        fit = fit_letters(x, letters, folds, count)
        return {"weight": torch.from_numpy(fit.weight), "bias": torch.from_numpy(fit.bias)}

    with latents.store.work.timed("probes"):
        key = {"step": "probes.letters", "version": VERSION, "words": seen.hexdigest()}
        found = latents.store.get(key, make)
    return LinearProbes(found["weight"].numpy(), found["bias"].numpy())
