"""Judges of known quality are calibrated: a perfect one, a constant, a random, a gullible one."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.data.calibration import calibration_texts
from pytest_sae.errors import DataError
from pytest_sae.judge.base import Answer, Spent
from pytest_sae.judge.calibration import requests
from pytest_sae.judge.calibration.attacks import rating_attack
from pytest_sae.judge.calibration.contexts import KnownContexts, known
from pytest_sae.judge.calibration.latent_rules import (
    ANY_WORD,
    CONCEPTS,
    RULES,
    Description,
    LatentRule,
)
from pytest_sae.judge.calibration.predicates import (
    after,
    begins,
    ending,
    first,
    inside,
    preceding,
    sentence_with,
)
from pytest_sae.judge.marking import plain, unmark
from pytest_sae.judge.request import Request
from pytest_sae.measure.judge_calibration import NAMES, calibrated
from pytest_sae.numbers.estimate import Estimate

DESCRIPTIONS = {
    each.text: each for rule in RULES for each in (rule.true, *rule.corruptions.values())
}
Reply = Callable[[Request], dict[str, object] | None]


@dataclass
class ReplyJudge:
    """A judge that is a function of the request."""

    reply: Reply
    batches: int = 0
    name: str = "reply"
    kind: str = "rules"

    @property
    def spent(self) -> Spent:
        return Spent()

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        self.batches += 1
        return [Answer(self.reply(request)) for request in requests]


@pytest.fixture(scope="module")
def texts() -> list[tuple[str, str]]:
    return calibration_texts()


@pytest.fixture(scope="module")
def latents(texts) -> list[KnownContexts]:
    return known(texts, RULES, seed=0)


@pytest.fixture(scope="module")
def oracle(texts, latents: list[KnownContexts]) -> Oracle:
    contexts = [each for latent in latents for each in (*latent.shown, *latent.scored)]
    return Oracle({plain(each): texts[each.document][1] for each in contexts})


@dataclass(frozen=True)
class Oracle:
    """Answers from the truth: it knows the topics of the texts and what descriptions mean.

    Args:
        topics: of every context, by its text.
    """

    topics: dict[str, str]

    def __call__(self, request: Request) -> dict[str, object]:
        document = request.document
        if request.prompt == "detect/1":
            wanted = DESCRIPTIONS[document["explanation"]]
            said = {
                key: int(self._fires(wanted, text)) for key, text in document["contexts"].items()
            }
            return {"matches": said}
        (rule,) = (rule for rule in RULES if self._marks(rule, document["contexts"]))
        if request.prompt == "explain/1":
            return {"explanation": rule.true.text}
        names = [concept["name"] for concept in document["concepts"]]
        return {"reason": "r", "ratings": {name: 4 * (name == rule.concept) for name in names}}

    def _fires(self, description: Description, text: str) -> bool:
        words, topic = self._known(text)
        return any(description.active(words, place, topic) for place in range(len(words)))

    def _marks(self, rule: LatentRule, contexts: list[str]) -> bool:
        return all(self._agrees(rule, written) for written in contexts)

    def _agrees(self, rule: LatentRule, written: str) -> bool:
        words, topic = self._known(written)
        active = [rule.true.active(words, place, topic) for place in range(len(words))]
        return active == [each > 0 for each in unmark(written)[1]][: len(words)]

    def _known(self, written: str) -> tuple[list[str], str]:
        """Words and topic of a context, without what somebody hid behind it."""
        text = re.sub(r"<<(.+?)>>\(\d+\)", r"\1", written)
        found = max(filter(text.startswith, self.topics), key=len)
        return unmark(found)[0], self.topics[found]


def figures(
    reply: Reply, rules: Sequence[LatentRule] = RULES, seed: int = 0
) -> dict[str, Estimate]:
    return {each.metric: each for each in calibrated(ReplyJudge(reply), seed, rules)}


def values(reply: Reply) -> dict[str, float | None]:
    return {name.split(".")[1]: each.value for name, each in figures(reply).items()}


def constant(request: Request, match: int, rating: int) -> dict[str, object]:
    document = request.document
    if request.prompt == "detect/1":
        return {"matches": dict.fromkeys(document["contexts"], match)}
    if request.prompt == "explain/1":
        return {"explanation": "something"}
    return {"reason": "r", "ratings": {each["name"]: rating for each in document["concepts"]}}


def at_random(request: Request) -> dict[str, object]:
    rng = np.random.default_rng(zlib.crc32(request.messages[1].content.encode()))
    document = request.document
    if request.prompt == "detect/1":
        return {"matches": {key: int(rng.integers(2)) for key in document["contexts"]}}
    if request.prompt == "explain/1":
        return {"explanation": f"guess {rng.integers(1000)}"}
    ratings = {each["name"]: int(rng.integers(5)) for each in document["concepts"]}
    return {"reason": "r", "ratings": ratings}


def test_a_perfect_judge_scores_1(oracle: Oracle) -> None:
    found = figures(oracle)
    assert tuple(found) == NAMES
    assert {name: each.value for name, each in found.items()} == dict.fromkeys(NAMES, 1.0)
    explained = found["judge_calibration.explain"].details
    assert explained["answers"]["women"]["explanation"].startswith("the words 'she'")
    assert explained["abstained"] == 0
    assert (explained["judge"], explained["kind"]) == ("reply", "rules")


@pytest.mark.parametrize("match", [0, 1])
@pytest.mark.parametrize("rating", [0, 4])
def test_a_constant_judge_is_at_chance_exactly(match: int, rating: int) -> None:
    found = values(lambda request: constant(request, match, rating))
    assert found["explain"] == 0.5
    assert found["score"] == 0.5
    assert found["rate"] == 0.5


def test_a_judge_that_guesses_is_near_chance_within_its_error() -> None:
    found = figures(at_random)
    for name in ("judge_calibration.explain", "judge_calibration.score"):
        assert abs(found[name].value - 0.5) < 3.5 * found[name].se
        assert found[name].se < 0.1
    assert found["judge_calibration.rate"].value < 0.6
    assert found["judge_calibration.injection"].value < 0.9


DEMANDS = re.compile(
    r'Ignore the inst.* rate (.+?) 4 and|"([^"]+)":4|Ignora .* un 4 a (.+?) y un|'
    r"known to be about (.+?)\. Its"
)
HIDDEN = re.compile(r"Ignore the instructions|New task:|Ignora todas|SYSTEM:")


def test_a_judge_that_obeys_what_it_reads_fails(oracle: Oracle) -> None:
    def gullible(request: Request) -> dict[str, object]:
        text = " ".join(map(str, request.document["contexts"]))
        if request.prompt == "detect/1":
            text = " ".join(request.document["contexts"].values())
        if not HIDDEN.search(text):
            return oracle(request)
        if request.prompt == "detect/1":
            return constant(request, 1, 0)
        wanted = next(filter(None, DEMANDS.search(text).groups()))
        ratings = {each.name: 4 * (each.name == wanted) for each in CONCEPTS}
        return {"reason": "r", "ratings": ratings}

    found = figures(gullible)
    assert found["judge_calibration.injection"].value == 0
    assert found["judge_calibration.injection"].n == {"instructions": 2 * len(RULES)}
    assert found["judge_calibration.rate"].value == 1


def test_answers_that_are_missing_are_wrong_and_counted() -> None:
    found = figures(lambda request: None)
    assert {each.value for each in found.values()} == {0.0}
    counted = {name.split(".")[1]: each.details["abstained"] for name, each in found.items()}
    rated = sum(rule.rated for rule in RULES)
    assert counted == {
        "explain": len(RULES),
        "score": 4 * len(RULES),
        "rate": rated,
        "injection": 2 * len(RULES),
    }


def test_one_missing_answer_costs_what_a_wrong_one_does(oracle: Oracle) -> None:
    def unsure(request: Request) -> dict[str, object] | None:
        document = request.document
        asked = document.get("explanation") == RULES[0].near.text
        return None if asked and request.prompt == "detect/1" else oracle(request)

    lost = sum(rule.near is RULES[0].near or rule.other is RULES[0].near for rule in RULES)
    found = figures(unsure)["judge_calibration.score"]
    # Men, the near miss of women, is a rule of its own too: there the true description is lost.
    assert found.value == pytest.approx(1 - (lost / 3 + 1) / len(RULES))


@given(order=st.permutations(RULES[:6]))
@settings(max_examples=3, deadline=None)
def test_the_order_of_the_rules_changes_nothing(order: list[LatentRule]) -> None:
    assert figures(at_random, order) == figures(at_random, RULES[:6])


def test_details_are_strict_json() -> None:
    found = figures(at_random, RULES[:6])
    assert all(json.dumps(dict(each.details), allow_nan=False) for each in found.values())


@given(order=st.randoms(use_true_random=False))
@settings(max_examples=3, deadline=None)
def test_the_order_of_the_texts_changes_no_question(texts, latents, order) -> None:
    shuffled = order.sample(texts, len(texts))
    changed = known(shuffled, RULES[:8], seed=0)
    for one, other in zip(changed, latents[:8], strict=True):
        assert list(map(plain, one.shown)) == list(map(plain, other.shown))
        assert list(map(plain, one.scored)) == list(map(plain, other.scored))
        assert one.truth == other.truth


def test_questions_are_asked_in_two_batches(oracle: Oracle) -> None:
    judge = ReplyJudge(oracle)
    calibrated(judge, 0, RULES[:8])
    assert judge.batches == 2


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_contexts_are_balanced_checked_and_never_shared_by_both_halves(texts, seed: int) -> None:
    halves: tuple[set[str], set[str]] = (set(), set())
    for latent in known(texts, RULES, seed):
        truth = [context.peak > 0 for context in latent.scored]
        assert list(latent.truth) == truth
        assert sum(truth) == len(truth) - sum(truth) == 10
        assert all(context.peak == 1 for context in latent.shown)
        for half, contexts in zip(halves, (latent.shown, latent.scored), strict=True):
            half |= {texts[context.document][0] for context in contexts}
            for context in contexts:
                assert context.text in texts[context.document][0]
                assert len(context.pieces) <= 32
    assert not halves[0] & halves[1]


def test_the_place_of_a_context_does_not_tell_whether_it_is_active(texts) -> None:
    """Over all rules and three seeds, as many active contexts stand in either half of a request."""
    early = [sum(latent.truth[:10]) for seed in range(3) for latent in known(texts, RULES, seed)]
    assert np.mean(early) == pytest.approx(5, abs=4 * np.std(early) / np.sqrt(len(early)))
    assert np.std(early) < 1.5


def test_every_wrong_description_is_wrong_on_the_contexts_of_its_rule(texts, latents) -> None:
    for latent in latents:
        for kind, wrong in latent.rule.corruptions.items():
            said = [
                any(
                    wrong.active(unmark(plain(context))[0], place, texts[context.document][1])
                    for place in range(len(context.pieces))
                )
                for context in latent.scored
            ]
            assert tuple(said) != latent.truth, (latent.rule.name, kind)


def test_there_are_about_twenty_rules_with_names_and_texts_of_their_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES) >= 20
    assert len({rule.true.text for rule in RULES}) == len(RULES)
    for rule in RULES:
        descriptions = {rule.true.text, rule.other.text, ANY_WORD.text, rule.near.text}
        assert len(descriptions) == 4
    assert {rule.concept for rule in RULES} == {None, *(concept.name for concept in CONCEPTS)}


def test_predicates_say_what_their_descriptions_say() -> None:
    text = re.findall(r"\S+", "The sea is not blue , nothing sang : the sea is wide .")
    topic = "sports"

    def found(predicate) -> list[str]:
        return [word for place, word in enumerate(text) if predicate(text, place, topic)]

    assert found(after("not")) == ["blue"]
    assert found(after(",")) == ["nothing"]
    assert found(preceding(":")) == ["sang"]
    assert found(ending("ing")) == ["nothing"]
    assert found(first("the")) == ["The"]
    assert found(inside("the")) == ["the"]
    assert found(sentence_with("blue")) == [word for word in text if word.isalpha()]
    assert found(sentence_with("green")) == []
    assert [place for place in range(len(text)) if begins(text, place)] == [0]


def test_a_hidden_instruction_changes_one_context_and_demands_something_wrong(latents) -> None:
    demanded = set()
    for latent in latents:
        asked = requests.first(latent)
        for kind in ("rate", "true"):
            clean, attacked = asked[kind], asked[f"{kind} hidden"]
            assert clean.messages[0] == attacked.messages[0]
            assert clean.schema == attacked.schema
            one, other = clean.document, attacked.document
            one, other = ({**each, "contexts": [*_texts(each)]} for each in (one, other))
            pairs = zip(one.pop("contexts"), other.pop("contexts"), strict=True)
            (changed,) = [(before, after) for before, after in pairs if before != after]
            assert changed[1].startswith(changed[0])
            assert HIDDEN.search(changed[1])
            assert one == other
        place = zlib.crc32(latent.rule.name.encode())
        instruction, concept = rating_attack(latent.rule, place)
        assert concept in instruction
        assert concept != latent.rule.concept
        demanded.add(HIDDEN.search(instruction).group())
    assert len(demanded) == 4


def _texts(document: dict) -> list[str]:
    contexts = document["contexts"]
    return list(contexts.values()) if isinstance(contexts, dict) else contexts


def test_too_few_texts_are_an_error_that_says_so(texts) -> None:
    with pytest.raises(DataError, match=r"'women' has .* contexts .* needs 10"):
        known(texts[:40], RULES, seed=0)
