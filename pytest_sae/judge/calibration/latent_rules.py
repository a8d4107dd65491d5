"""The rules that calibration latents follow, what is true of them and what only sounds like it.

RULES: tuple[LatentRule, ...]
CONCEPTS: tuple[Concept, ...]
"""

from __future__ import annotations

from dataclasses import dataclass

from pytest_sae.judge.calibration.predicates import (
    Predicate,
    about,
    after,
    beginning,
    ending,
    everywhere,
    first,
    inside,
    one_of,
    preceding,
    sentence_with,
    spelled,
)
from pytest_sae.judge.prompts.rate import Concept


@dataclass(frozen=True)
class Description:
    """A sentence about words, and the words of which it is true.

    Args:
        text: as a judge reads it.
        active: the same as a predicate.
    """

    text: str
    active: Predicate


@dataclass(frozen=True)
class LatentRule:
    """A latent whose truth is known.

    Args:
        name: short.
        true: what it is active on.
        other: a description that has nothing to do with it.
        near: a description that is easily mistaken for the true one.
        concept: name of the one of `CONCEPTS` that it is about, None for none of them.
        rated: whether that is beyond dispute; words ending in 'ly' may well be 'lovely' or 'ugly'.
    """

    name: str
    true: Description
    other: Description
    near: Description
    concept: str | None = None
    rated: bool = True

    @property
    def corruptions(self) -> dict[str, Description]:
        """Wrong descriptions, by kind."""
        return {"other": self.other, "broad": ANY_WORD, "near": self.near}


ANY_WORD = Description("any word of any text", everywhere)

_GENDER = Concept.of("gender", "male", "female")
_RATING = Concept.of("rating", "good", "bad")
_PROFESSION = Concept.of("profession", "nurse or surgeon", "teacher or professor")
_TOPIC = Concept.of("topic", "sport", "chemistry", "animals")
CONCEPTS = (_GENDER, _RATING, _PROFESSION, _TOPIC)

_WOMEN = Description(
    "the words 'she', 'her', 'hers' and 'herself', pronouns for a woman",
    one_of("she", "her", "hers", "herself"),
)
_MEN = Description(
    "the words 'he', 'him', 'his' and 'himself', pronouns for a man",
    one_of("he", "him", "his", "himself"),
)
_MOTHERS = Description(
    "the words 'mother', 'sister', 'daughter' and 'wife', women of a family",
    one_of("mother", "sister", "daughter", "wife"),
)
_FATHERS = Description(
    "the words 'father', 'brother', 'son' and 'husband', men of a family",
    one_of("father", "brother", "son", "husband"),
)
_NUMBERS = Description(
    "the number words 'two', 'three', 'four', 'five', 'ten', 'twelve' and 'twenty'",
    one_of("two", "three", "four", "five", "ten", "twelve", "twenty"),
)
_TIMES = Description(
    "the words 'once', 'twice', 'first' and 'last'", one_of("once", "twice", "first", "last")
)
_DAYS = Description(
    "the names of days 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday' and 'Saturday'",
    spelled("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"),
)
_MONTHS = Description(
    "the names of months 'January', 'March', 'April', 'May', 'July', 'August', 'October' and "
    "'December'",
    spelled("January", "March", "April", "May", "July", "August", "October", "December"),
)
_GOOD = Description(
    "the words 'good', 'great', 'excellent', 'perfect', 'wonderful' and 'lovely', praise",
    one_of("good", "great", "excellent", "perfect", "wonderful", "lovely"),
)
_BAD = Description(
    "the words 'bad', 'poor', 'terrible', 'awful', 'useless' and 'ugly', blame",
    one_of("bad", "poor", "terrible", "awful", "useless", "ugly"),
)
_MEDICINE = Description(
    "the words 'patients', 'doctors', 'hospital', 'injections', 'operation', 'operations' and "
    "'scalpel', from the work of nurses and surgeons",
    one_of("patients", "doctors", "hospital", "injections", "operation", "operations", "scalpel"),
)
_TEACHING = Description(
    "the words 'pupils', 'students', 'exams', 'homework', 'seminars', 'school' and 'university', "
    "from the work of teachers and professors",
    one_of("pupils", "students", "exams", "homework", "seminars", "school", "university"),
)
_ING = Description("words ending in 'ing', such as 'morning' and 'nothing'", ending("ing"))
_ED = Description("words ending in 'ed', such as 'worked' and 'tired'", ending("ed"))
_LY = Description("words ending in 'ly', such as 'lovely' and 'usually'", ending("ly"))
_L = Description("words beginning with 'l', such as 'last' and 'long'", beginning("l"))
_UN = Description("words beginning with 'un', such as 'unlike' and 'until'", beginning("un"))
_U = Description("words beginning with 'u', such as 'use' and 'us'", beginning("u"))
_AFTER_COMMA = Description("the word right after a comma", after(","))
_AFTER_AND = Description("the word right after 'and'", after("and"))
_BEFORE_COLON = Description("the word right before a colon", preceding(":"))
_FIRST_THE = Description("the word 'The' as the first word of a sentence", first("the"))
_INSIDE_THE = Description("the word 'the' inside a sentence, not as its first word", inside("the"))
_SPORT = Description("words of texts about sport", about("sports"))
_ART = Description("words of texts about art, theater and music", about("culture"))
_CHEMISTRY = Description(
    "words of texts about chemistry: metals and substances", about("chemistry")
)
_ANIMALS = Description("words of texts about animals: where they live and eat", about("biology"))
_AFTER_NOT = Description("the word right after 'not' or 'never'", after("not", "never"))
_AFTER_IS = Description("the word right after 'is' or 'was'", after("is", "was"))
_NOBODY = Description("the words 'no', 'nobody' and 'nothing'", one_of("no", "nobody", "nothing"))
_EVERYBODY = Description(
    "the words 'all', 'everybody' and 'every'", one_of("all", "everybody", "every")
)
_ABSENT = Description(
    "all words of a sentence that contains 'not', 'no', 'never', 'nobody', 'nothing' or 'without'",
    sentence_with("not", "no", "never", "nobody", "nothing", "without"),
)
_EMPHATIC = Description(
    "all words of a sentence that contains 'very', 'all', 'every' or 'everybody'",
    sentence_with("very", "all", "every", "everybody"),
)

RULES = (
    LatentRule("women", _WOMEN, _MONTHS, _MEN, _GENDER.name),
    LatentRule("men", _MEN, _CHEMISTRY, _WOMEN, _GENDER.name),
    LatentRule("mothers", _MOTHERS, _NUMBERS, _FATHERS, _GENDER.name),
    LatentRule("fathers", _FATHERS, _UN, _MOTHERS, _GENDER.name),
    LatentRule("numbers", _NUMBERS, _BAD, _TIMES),
    LatentRule("days", _DAYS, _GOOD, _MONTHS),
    LatentRule("months", _MONTHS, _WOMEN, _DAYS),
    LatentRule("praise", _GOOD, _DAYS, _BAD, _RATING.name),
    LatentRule("blame", _BAD, _BEFORE_COLON, _GOOD, _RATING.name),
    LatentRule("medicine", _MEDICINE, _AFTER_NOT, _TEACHING, _PROFESSION.name),
    LatentRule("teaching", _TEACHING, _ANIMALS, _MEDICINE, _PROFESSION.name),
    LatentRule("ending ing", _ING, _MOTHERS, _ED),
    LatentRule("ending ly", _LY, _FATHERS, _L, rated=False),
    LatentRule("beginning un", _UN, _NOBODY, _U, rated=False),
    LatentRule("after a comma", _AFTER_COMMA, _BAD, _AFTER_AND, rated=False),
    LatentRule("before a colon", _BEFORE_COLON, _FATHERS, _AFTER_COMMA),
    LatentRule("first The", _FIRST_THE, _MEDICINE, _INSIDE_THE),
    LatentRule("sport", _SPORT, _MEDICINE, _ART, _TOPIC.name),
    LatentRule("chemistry", _CHEMISTRY, _TEACHING, _ANIMALS, _TOPIC.name),
    LatentRule("animals", _ANIMALS, _WOMEN, _CHEMISTRY, _TOPIC.name),
    LatentRule("after not", _AFTER_NOT, _DAYS, _AFTER_IS, rated=False),
    LatentRule("nobody", _NOBODY, _SPORT, _EVERYBODY),
    LatentRule("absence", _ABSENT, _MONTHS, _EMPHATIC, rated=False),
)
