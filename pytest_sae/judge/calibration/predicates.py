"""On which words of a text is a rule's latent active? One small function for every kind of rule.

A predicate takes the words of a text, the place of one of them and the text's topic. All of them
look no further than the word's own sentence, so that whole sentences show a judge all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Predicate = Callable[[Sequence[str], int, str], bool]

ENDS = frozenset(".?!")
_SMALL_WORDS = """
    a an the and or but of to in on at by for from with about after before into than that this it
    its he him his she her they them their we us our i my me you your who whom which what is are
    was were be been has have had do does did not no as so if then there
"""
_FUNCTION_WORDS = frozenset(_SMALL_WORDS.split())


def one_of(*words: str) -> Predicate:
    """Active on these words, whatever their case."""
    wanted = frozenset(words)
    return lambda text, place, topic: text[place].lower() in wanted


def spelled(*words: str) -> Predicate:
    """Active on these words with capitals as they are given."""
    wanted = frozenset(words)
    return lambda text, place, topic: text[place] in wanted


def ending(part: str) -> Predicate:
    """Active on words that end in a part and are longer than it."""
    return lambda text, place, topic: (
        text[place].lower().endswith(part) and len(text[place]) > len(part)
    )


def beginning(part: str) -> Predicate:
    """Active on words that begin with a part and are longer than it."""
    return lambda text, place, topic: (
        text[place].lower().startswith(part) and len(text[place]) > len(part)
    )


def after(*words: str) -> Predicate:
    """Active on the word right after one of these, in the same sentence."""
    wanted = frozenset(words)
    return lambda text, place, topic: (
        place > 0 and text[place - 1].lower() in wanted and text[place][0].isalnum()
    )


def preceding(*words: str) -> Predicate:
    """Active on the word right before one of these."""
    wanted = frozenset(words)
    return lambda text, place, topic: (
        place + 1 < len(text) and text[place + 1] in wanted and text[place][0].isalnum()
    )


def first(word: str) -> Predicate:
    """Active on a word where it is the first of a sentence."""
    return lambda text, place, topic: text[place].lower() == word and begins(text, place)


def inside(word: str) -> Predicate:
    """Active on a word where it is not the first of a sentence."""
    return lambda text, place, topic: text[place].lower() == word and not begins(text, place)


def about(wanted: str) -> Predicate:
    """Active on the content words of texts of a topic."""
    return lambda text, place, topic: (
        topic == wanted and text[place].isalpha() and text[place].lower() not in _FUNCTION_WORDS
    )


def sentence_with(*words: str) -> Predicate:
    """Active on every word of a sentence that contains one of these."""
    wanted = frozenset(words)

    def active(text: Sequence[str], place: int, topic: str) -> bool:
        start, stop = place, place
        while not begins(text, start):
            start -= 1
        while stop < len(text) and text[stop] not in ENDS:
            stop += 1
        return text[place].isalpha() and any(each.lower() in wanted for each in text[start:stop])

    return active


def everywhere(text: Sequence[str], place: int, topic: str) -> bool:
    """Active on every word.

    Args:
        text: words, punctuation marks being words too.
        place: of one of them.
        topic: of the text.

    Returns:
        True.
    """
    return True


def begins(text: Sequence[str], place: int) -> bool:
    """Return whether a word is the first of its sentence.

    Args:
        text: words, punctuation marks being words too.
        place: of one of them.
    """
    return place == 0 or text[place - 1] in ENDS
