"""The rule-based judge: what it says it can read again, and what is planted it finds."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fixtures import WORLD, judge_lexicon
from fixtures.grammar import vocabulary
from pytest_sae.activations.contexts import Context
from pytest_sae.activations.steering import SteeringEffect
from pytest_sae.errors import JudgeError
from pytest_sae.judge.form import Form
from pytest_sae.judge.marking import unmark
from pytest_sae.judge.prompts import detect, effect, explain, pick, rate
from pytest_sae.judge.prompts.rate import Concept
from pytest_sae.judge.request import Message, Request
from pytest_sae.judge.rule_based import Lexicon, RuleBasedJudge, load
from pytest_sae.judge.rule_based import hypotheses as h
from pytest_sae.judge.rule_based.description_parser import parse
from pytest_sae.judge.rule_based.passage import read
from pytest_sae.judge.rule_based.places import Places, contextual

WIDTH = 32
PIECE = re.compile(r"\s*(?:[^\W_]|')+|\s*\S")

# A planted latent: is it active on the word at this place of these words, in a text of this label?
Planted = Callable[[Sequence[str], int, str], bool]


@cache
def lexicon() -> Lexicon:
    return load(WORLD)


@cache
def judge() -> RuleBasedJudge:
    return RuleBasedJudge(lexicon())


@cache
def windows() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Windows of the bundled test texts with their labels, shuffled."""
    found = []
    for name, column in (("biographies.test", "profession"), ("reviews.test", "category")):
        found += labelled(name, column, 5)
    found += labelled("topics", "topic", 2) + labelled("prose", "", 1)
    random.Random(0).shuffle(found)
    return tuple(found)


def labelled(name: str, column: str, step: int) -> list[tuple[str, tuple[str, ...]]]:
    lines = (WORLD / "texts" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        (row.get(column, ""), tuple(PIECE.findall(row["text"])[:WIDTH]))
        for row in map(json.loads, lines[::step])
    ]


@cache
def contexts(planted: Planted) -> list[Context]:
    """Every window, with the planted latent's activations."""
    found = []
    for place, (label, pieces) in enumerate(windows()):
        words = [piece.strip() for piece in pieces]
        active = [planted(words, index, label) for index in range(len(words))]
        found.append(Context(place, pieces, tuple(map(float, active))))
    return found


def ask(request: Request) -> Any:
    """The judge's answer to what is left of a request after its way through JSON."""
    turns = json.loads(json.dumps([[each.role, each.content] for each in request.messages]))
    sent = replace(request, messages=tuple(Message(role, content) for role, content in turns))
    (answer,) = judge().ask([sent])
    jsonschema.validate(answer.value, request.schema)
    return answer


def explained(planted: Planted, promoted: Sequence[str] = ()) -> str:
    """What the judge says of the first contexts on which the planted latent is active."""
    active = [each for each in contexts(planted) if each.peak][:15]
    return explain.read(ask(explain.request(active, promoted))) or ""


def detection(description: str, planted: Planted) -> float:
    """Balanced accuracy of a description on windows that no explanation is made from."""
    every = contexts(planted)
    used = [each.document for each in every if each.peak][:15]
    unused = [each for each in every if each.document not in used]
    active = [each for each in unused if each.peak][:25]
    silent = [each for each in unused if not each.peak][:25]
    given = detect.read(ask(detect.detection(description, active + silent)), len(active + silent))
    assert given is not None
    right = sum(given[: len(active)]) / len(active)
    return (right + 1 - sum(given[len(active) :]) / len(silent)) / 2


def word_in(*words: str) -> Planted:
    return lambda text, place, label: text[place].lower() in words


def after(*words: str) -> Planted:
    return lambda text, place, label: place > 0 and text[place - 1].lower() in words


def ending(part: str) -> Planted:
    return lambda text, place, label: len(text[place]) > len(part) and text[place].endswith(part)


def first_of_sentence(word: str) -> Planted:
    return lambda text, place, label: (
        text[place].lower() == word and (place == 0 or text[place - 1] == ".")
    )


def in_texts(label: str) -> Planted:
    return lambda text, place, given: given == label


def words_of_sentences_with(*words: str) -> Planted:
    def active(text: Sequence[str], place: int, label: str) -> bool:
        start = max((i + 1 for i in range(place) if text[i] == "."), default=0)
        stop = min((i for i in range(place, len(text)) if text[i] == "."), default=len(text))
        return any(word.lower() in words for word in text[start:stop])

    return active


WOMEN = ("alice", "anna", "clara", "emma", "grace", "helen", "ida", "julia", "laura", "nora")
PLANTED: dict[str, tuple[str, Planted, str]] = {
    "words": ("the words 'she' and 'her'", word_in("she", "her"), "the words 'his' and 'him'"),
    "ending": ("words ending in 'ing'", ending("ing"), "words ending in 'ed'"),
    "neighbour": ("the word right after 'the'", after("the"), "the word right after 'not'"),
    "negated": (
        "words that follow 'not' or 'nobody'",
        after("not", "nobody"),
        "words that follow a number",
    ),
    "place": (
        "'The' at the start of a sentence",
        first_of_sentence("the"),
        "the last word of a sentence",
    ),
    "subject": ("words in texts about sports", in_texts("sports"), "words in texts about science"),
    "numbers": (
        "numbers",
        word_in("two", "three", "four", "five", "ten", "twelve", "twenty"),
        "words of praise",
    ),
    "sentence": (
        "all words of a sentence that contains 'not' or 'nothing'",
        words_of_sentences_with("not", "nothing"),
        "all words of a sentence that contains 'since'",
    ),
}


# What it says can be read again


def plain_words() -> st.SearchStrategy[str]:
    known = st.sampled_from([w.lower() for c in lexicon().categories for w in c.words])
    letters = st.text(
        st.characters(categories=["L", "N"], include_characters="'\u2019"), min_size=1
    )
    marks = st.sampled_from("'\",.:;?!`-()\u2019\u201c")
    whole = st.one_of(known, letters, marks).map(str.lower)
    return whole.filter(lambda word: unmark(word)[0] == [word])


def some_words() -> st.SearchStrategy[h.Hypothesis]:
    return st.frozensets(plain_words(), min_size=1, max_size=4).map(h.Words)


def atoms() -> st.SearchStrategy[h.Hypothesis]:
    categories = st.sampled_from(lexicon().categories).map(h.InCategory)
    parts = plain_words()
    fixed = [
        *(h.Capitalised(), h.Numeral(), h.Punctuation(), h.ContentWords()),
        *(h.First(), h.Last(), h.AnyWord()),
    ]
    return st.one_of(
        some_words(), categories, parts.map(h.Suffix), parts.map(h.Prefix), st.sampled_from(fixed)
    )


def single_rules() -> st.SearchStrategy[h.Hypothesis]:
    subjects = st.sampled_from([each for each in lexicon().categories if each.texts])
    placed = st.one_of(
        atoms(),
        atoms().map(h.After),
        atoms().map(h.Before),
        atoms().map(h.InSentenceWith),
        some_words().map(h.Opening),
        some_words().map(h.Inside),
    )
    return st.one_of(placed, st.builds(h.InTexts, placed, subjects))


def rules() -> st.SearchStrategy[h.Hypothesis]:
    unions = st.frozensets(single_rules(), min_size=2, max_size=3).map(h.Either)
    return st.one_of(single_rules(), unions)


@given(rules())
@settings(max_examples=300, deadline=None)
def test_every_rule_is_read_back_from_its_own_description(rule: h.Hypothesis) -> None:
    assert parse(rule.describe(), lexicon()) == rule


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("The words \u201cshe\u201d or \u201cher\u201d.", "the words 'her', 'she'"),
        ("Tokens ending with -ly, for example 'lovely'", "words ending in 'ly'"),
        ("words beginning with `un`", "words starting with 'un'"),
        ("female names such as 'Anna'", "female first names"),
        ("the word that follows a comma", "words right after the word ','"),
        ("names of cities or countries", "names of cities; or names of countries"),
        ("passages about sport", "any word in texts about sports"),
        ("commas in articles about politics", "the word ',' in texts about politics"),
        ("everything that the verdict leaves open", "any word"),
    ],
)
def test_other_ways_to_say_it_are_understood(said: str, meant: str) -> None:
    rule = parse(said, lexicon())
    assert rule is not None
    assert rule.describe() == meant


# Sets of places and rules asked word by word agree


@given(st.lists(st.integers(0, 999), min_size=1, max_size=3))
@example([493])  # a word that is both a negation and a function word
@settings(max_examples=6, deadline=None)
def test_places_found_by_shifts_are_those_where_the_rule_holds(chosen: list[int]) -> None:
    texts = ["".join(windows()[place][1]) for place in chosen]
    places = Places([read(text, lexicon()) for text in texts])
    found = contextual(places)
    assert len(found) > 50
    for rule, held in found.items():
        assert held == places.holds(rule), rule.describe()


# Planted latents are explained and found


@pytest.mark.parametrize("name", PLANTED)
def test_an_explanation_of_a_planted_latent_finds_it_in_other_texts(name: str) -> None:
    _, planted, _ = PLANTED[name]
    assert detection(explained(planted), planted) > 0.85


@pytest.mark.parametrize("name", PLANTED)
def test_a_true_description_finds_the_latent_and_a_wrong_one_does_not(name: str) -> None:
    true, planted, wrong = PLANTED[name]
    assert detection(true, planted) > 0.9
    assert 0.3 < detection(wrong, planted) < 0.65


def test_an_explanation_goes_beyond_the_words_that_were_shown() -> None:
    names = [name.lower() for name in vocabulary.FEMALE_NAMES]
    assert explained(word_in(*names)) == "female first names"
    assert explained(ending("ing")) == "words ending in 'ing'"
    assert explained(after("the")) == "words right after the word 'the'"
    assert explained(in_texts("sports")) == "any word in texts about sports"


@pytest.mark.parametrize("name", ["words", "ending", "neighbour", "numbers"])
def test_fuzzing_tells_the_right_marks_from_others(name: str) -> None:
    true, planted, _ = PLANTED[name]
    active = [each for each in contexts(planted) if each.peak][:20]
    right = [[value > 0 for value in each.activations] for each in active]
    rng = random.Random(1)
    wrong = [[not mark and rng.random() < 0.1 for mark in marks] for marks in right]
    pairs = zip(active * 2, right + wrong, strict=True)
    shown = [(context, marks) for context, marks in pairs if any(marks)]
    request = detect.fuzzing(true, [each for each, _ in shown], [marks for _, marks in shown])
    given = detect.read(ask(request), len(shown))
    assert given == [place < len(right) for place in range(len(shown))]


# Ratings


GENDER = Concept("gender: male or female", ("male", "female"))
PROFESSION = Concept("profession: professor or nurse", ("professor", "nurse"))
RATING = Concept("rating: 5 or 1", ("5", "1"))
CATEGORY = Concept("category: Books or Electronics", ("Books", "Electronics"))
CONCEPTS = (GENDER, PROFESSION, RATING, CATEGORY)


def rated(planted: Planted, promoted: Sequence[str] = ()) -> list[int]:
    active = [each for each in contexts(planted) if each.peak][:10]
    answer = rate.read(ask(rate.request(CONCEPTS, active, promoted)), CONCEPTS)
    assert answer is not None
    return [answer.ratings[each.name] for each in CONCEPTS]


@pytest.mark.parametrize(
    ("planted", "place"),
    [
        (word_in("she", "her", "sister", *WOMEN), 0),
        (word_in("bandages", "injections", "ward", "pulse", "thermometer", "beds"), 1),
        (word_in("awful", "terrible", "useless", "poor"), 2),
        (word_in("novel", "cookbook", "plot", "shelf", "edition"), 3),
    ],
)
def test_a_latent_of_one_concept_is_rated_high_for_it_and_low_for_the_others(
    planted: Planted, place: int
) -> None:
    ratings = rated(planted)
    assert ratings.pop(place) >= 3
    assert max(ratings) <= 1


def test_words_that_fit_no_concept_are_rated_zero() -> None:
    assert rated(word_in("the", ",", "in")) == [0, 0, 0, 0]


def test_a_latent_of_names_of_both_genders_speaks_less_for_gender_than_one_of_female_names() -> (
    None
):
    female, male = (
        [each for each in contexts(word_in(*names)) if each.peak][:5] for names in (WOMEN, MEN)
    )
    alone, mixed = (
        ask(rate.request([GENDER], shown, ())).value["ratings"][GENDER.name]
        for shown in (female, female + male)
    )
    assert alone == 4
    assert mixed <= 2


MEN = ("adam", "carl", "david", "eric", "felix", "hugo", "jack", "leon", "oscar", "paul")


def stop_after(names: Sequence[str], others: Sequence[str] = ()) -> Planted:
    """A latent that fires on the first full stop, if some of the names came before it."""

    def fires(words: Sequence[str], index: int, label: str) -> bool:
        before = [word.lower() for word in words[:index]]
        first = words[index] == "." and "." not in before
        return first and any(w in names for w in before) and not any(w in others for w in before)

    return fires


def test_a_latent_that_keeps_in_mind_whom_a_text_is_about_is_about_gender() -> None:
    men, women = (
        [name.lower() for name in vocabulary.NAMES[gender]] for gender in ("male", "female")
    )
    assert rated(stop_after(WOMEN, men))[0] == 3
    assert rated(stop_after(MEN, women))[0] == 3
    assert rated(stop_after((*WOMEN, *MEN)))[0] == 0


def test_few_contexts_that_agree_are_no_sign_of_memory() -> None:
    active = [each for each in contexts(stop_after(WOMEN)) if each.peak][:4]
    answer = rate.read(ask(rate.request(CONCEPTS, active, ())), CONCEPTS)
    assert answer is not None
    assert answer.ratings[GENDER.name] == 0


def test_promoted_tokens_alone_raise_a_rating_to_some() -> None:
    assert rated(word_in("the"), [" she", " her", " sister"]) == [2, 0, 0, 0]


def test_values_may_be_named_in_other_words_and_unknown_ones_are_rated_zero() -> None:
    active = [each for each in contexts(word_in("patients", "hospital")) if each.peak][:10]
    concepts = [
        Concept("work", ("nurse or surgeon", "teacher or professor")),
        Concept("sentiment", ("good", "bad")),
        Concept("galaxies", ("spiral", "elliptic")),
    ]
    answer = rate.read(ask(rate.request(concepts, active, ())), concepts)
    assert answer is not None
    assert answer.ratings["work"] >= 3
    assert (answer.ratings["sentiment"], answer.ratings["galaxies"]) == (0, 0)


# Effects


def test_an_effect_is_explained_by_what_raised_tokens_share_and_picked_again() -> None:
    effects = [
        SteeringEffect("He said that", (" she", " her", " Anna"), (" he", " the")),
        SteeringEffect("In the end", (" her", " Clara", " she"), (" a", " two")),
    ]
    said = effect.read(ask(effect.request(effects)))
    assert said is not None
    pairs = [((" Emma", " she"), (" three", " his")), ((" goal", " match"), (" her", " sister"))]
    assert pick.read(ask(pick.request(said, pairs)), 2) == ["A", "B"]


def test_of_two_lists_that_fit_as_well_the_first_is_picked() -> None:
    pairs = [((" red",), (" red",)), ((), ())]
    assert pick.read(ask(pick.request("names of months", pairs)), 2) == ["A", "A"]


# Whatever it is asked


def texts() -> st.SearchStrategy[str]:
    odd = st.sampled_from(
        ["", "<<", ">>(11)", "''", '"', "the word '", "; or ", "words after after"]
    )
    known = st.sampled_from([each.says for each in lexicon().categories])
    return st.lists(st.one_of(odd, known, st.text(max_size=20)), max_size=4).map(" ".join)


def windows_of_anything() -> st.SearchStrategy[list[Context]]:
    pieces = st.lists(st.tuples(texts(), st.floats(-9, 9)), min_size=1, max_size=6)
    context = pieces.map(lambda p: Context(0, tuple(t for t, _ in p), tuple(a for _, a in p)))
    return st.lists(context, max_size=3)


@given(texts(), windows_of_anything(), st.lists(texts(), max_size=3), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example("the word ''' or \x00", [Context(0, ("\ud800", "\x001\x00"), (1.0, 2.0))], [""], None)
def test_any_text_anywhere_gets_an_answer_of_the_required_form(
    text: str, given: list[Context], tokens: list[str], data: st.DataObject | None
) -> None:
    marks = [[value > 0 for value in each.activations] for each in given]
    name = text if data is None else data.draw(texts())
    requests = [
        explain.request(given, tokens),
        rate.request([Concept(name, (text, "male")), Concept(name + "2", ())], given, tokens),
        detect.detection(text, given),
        detect.fuzzing(text, given, marks),
        effect.request(
            [SteeringEffect(text, tuple(tokens), ()), SteeringEffect(name, (), (text,))]
        ),
        pick.request(text, [(tokens, ()), ((text,), tokens)]),
    ]
    assert [ask(each).problem for each in requests] == [""] * len(requests)


@given(st.permutations(range(12)))
@settings(max_examples=4, deadline=None)
def test_the_order_of_the_contexts_changes_no_answer(order: list[int]) -> None:
    for _, planted, _ in (PLANTED["words"], PLANTED["sentence"]):
        shown = [each for each in contexts(planted) if each.peak][:12]
        moved = [shown[place] for place in order]
        assert ask(explain.request(moved, ())) == ask(explain.request(shown, ()))
        assert ask(rate.request(CONCEPTS, moved, ())) == ask(rate.request(CONCEPTS, shown, ()))
        answers = detect.read(ask(detect.detection("the words 'she'", moved)), 12)
        before = detect.read(ask(detect.detection("the words 'she'", shown)), 12)
        assert before is not None
        assert answers == [before[place] for place in order]


def test_nothing_but_the_document_decides_the_answer() -> None:
    request = explain.request([each for each in contexts(ending("ing")) if each.peak][:5], ())
    document = request.messages[1]
    bare = Request(request.prompt, (Message("system", "Say no."), document), Form({}, Any), 1)
    assert judge().ask([bare]) == judge().ask([request])


def test_asking_many_is_asking_each_and_costs_nothing() -> None:
    fresh = RuleBasedJudge(lexicon())
    requests = [detect.detection("numbers", contexts(word_in("two"))[:3]) for _ in range(4)]
    assert fresh.ask(requests) == [fresh.ask([each])[0] for each in requests]
    assert (fresh.spent.requests, fresh.spent.cost) == (8, 0.0)
    assert (fresh.name, fresh.kind) == ("rules (bundled world only)", "rules")


def test_a_prompt_without_rules_is_refused_with_the_list_of_those_it_knows() -> None:
    request = replace(explain.request([], ()), prompt="explain/2")
    with pytest.raises(JudgeError, match=r"explain/2.*explain/1"):
        judge().ask([request])


# The lexicon


def test_the_committed_lexicon_is_what_the_grammar_says() -> None:
    committed = (WORLD / judge_lexicon.FILE).read_bytes()
    assert committed == judge_lexicon.serialised().encode()
    assert len(committed) < 150_000


def test_shares_of_a_word_within_a_family_are_at_most_one_in_all() -> None:
    for name in ("profession", "topic", "category", "rating", "gender", "subject"):
        sums: dict[str, float] = {}
        for category in lexicon().family(name):
            for word, share in category.words.items():
                sums[word] = sums.get(word, 0.0) + share
        assert sums
        assert max(sums.values()) <= 1.03  # shares are rounded


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"categories": [{"family": "x"}]}', "\xff"])
def test_a_damaged_lexicon_is_refused_with_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / "lexicon.json").write_text(content, encoding="latin-1")
    with pytest.raises(JudgeError, match="--only lexicon"):
        load(tmp_path)
