"""Autointerp with judges whose truth is planted, and end to end on a tiny model."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from pytest_sae.activations.contexts import Context
from pytest_sae.activations.evidence import EvidenceSizes
from pytest_sae.activations.latents import Latents
from pytest_sae.activations.steering import Steered, SteeringEffect
from pytest_sae.activations.store import Store
from pytest_sae.dictionaries.load import load as load_dictionary
from pytest_sae.errors import ModelError
from pytest_sae.families.registry import known
from pytest_sae.judge.prompts import explain
from pytest_sae.judge.request import Request
from pytest_sae.measure import embedding, surprisal
from pytest_sae.measure.autointerp import NAMES, AutointerpSizes, scored
from pytest_sae.measure.detection import MOST, detected, detection_pages, fuzzing_pages, right_marks
from pytest_sae.measure.explained_latents import (
    ExplainedLatent,
    choose,
    evenly,
    explained,
    with_borrowed,
)
from pytest_sae.measure.intervention import judged, pairs_of, prompts_of
from pytest_sae.models.load import load as load_model
from pytest_sae.models.scorer import losses
from pytest_sae.numbers.estimate import Estimate
from tests.measure.given import given_of
from tests.measure.planted_judge import (
    PlantedJudge,
    constantly,
    evidence,
    reader,
    subjects,
    word_of,
)

KINDS = ("detection", "fuzzing")


@pytest.fixture(scope="module")
def told() -> list[ExplainedLatent]:
    """Twelve latents, explained by a perfect reader; ten of them with a borrowed explanation."""
    return explained(subjects(), [()] * 12, PlantedJudge(reader), seed=0)


# Explaining


def test_a_reader_finds_the_word_of_each_latent(told: list[ExplainedLatent]) -> None:
    assert [word_of(each.explanation) for each in told] == [f"w{j}" for j in range(12)]


def test_a_borrowed_explanation_is_that_of_another(told: list[ExplainedLatent]) -> None:
    lent = [each.borrowed for each in told if each.borrowed]
    assert len(lent) == 10
    assert len(set(lent)) == 10
    assert all(each.borrowed != each.explanation for each in told)
    assert {each.stratum for each in told if each.borrowed} == set(range(6))


def test_who_borrows_from_whom_does_not_depend_on_the_order(told: list[ExplainedLatent]) -> None:
    plain = [replace(each, borrowed=None) for each in told]
    again = {each.latent: each.borrowed for each in with_borrowed(plain, 0)}
    mixed = sorted(plain, key=lambda each: (each.stratum * 7 % 6, each.latent))
    assert {each.latent: each.borrowed for each in with_borrowed(mixed, 0)} == again


def test_a_latent_without_explanation_neither_lends_nor_borrows(
    told: list[ExplainedLatent],
) -> None:
    silent = [
        replace(each, explanation=None if each.latent < 3 else each.explanation) for each in told
    ]
    found = with_borrowed([replace(each, borrowed=None) for each in silent], 0)
    assert all(each.borrowed is None for each in found[:3])
    assert all(each.borrowed is not None for each in found[3:])


@given(count=st.integers(0, 15))
@settings(deadline=None)
def test_latents_are_taken_evenly_from_the_strata(count: int) -> None:
    chosen = Counter(each.stratum for each in evenly(subjects(), count))
    assert chosen.total() == min(count, 12)
    if chosen:
        assert max(chosen.values()) - (min(chosen.values()) if len(chosen) == 6 else 0) <= 1


# Detection and fuzzing


def test_a_perfect_reader_scores_one_and_another_latents_explanation_one_half(
    told: list[ExplainedLatent],
) -> None:
    spotted = detected(told, PlantedJudge(reader), seed=0)
    assert spotted.unanswered == frozenset()
    for kind in KINDS:
        assert [score.value for score in spotted.scores[kind]] == [1.0] * 12
        floors = [s.shuffled for s in spotted.scores[kind] if s.shuffled is not None]
        assert len(floors) == 10
        assert np.mean(floors) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("answer", [0, 1])
def test_a_constant_judge_scores_exactly_one_half(told: list[ExplainedLatent], answer: int) -> None:
    spotted = detected(told, PlantedJudge(constantly(answer)), seed=0)
    for kind in KINDS:
        assert {score.value for score in spotted.scores[kind]} == {0.5}
        assert {score.shuffled for score in spotted.scores[kind]} <= {0.5, None}
        assert {score.constant for score in spotted.scores[kind]} == {0.5}


@pytest.mark.parametrize("silent", [3, 10, 30])
def test_none_of_them_gains_nothing_whatever_the_share_of_active_contexts(silent: int) -> None:
    few = [replace(each, explanation="nothing") for each in subjects(4, scored=12, silent=silent)]
    spotted = detected(few, PlantedJudge(constantly(0)), seed=0)
    assert {score.value for kind in KINDS for score in spotted.scores[kind]} == {0.5}


def test_a_question_without_an_answer_is_wrong_and_reported(told: list[ExplainedLatent]) -> None:
    def shy(request: Request) -> Mapping[str, Any] | None:
        about = word_of(request.document["explanation"])
        return None if (request.prompt, about) == ("detect/1", "w3") else reader(request)

    spotted = detected([replace(each, borrowed=None) for each in told], PlantedJudge(shy), seed=0)
    assert spotted.unanswered == {3}
    assert [s.value for s in spotted.scores["detection"]] == [1.0] * 3 + [0.0] + [1.0] * 8
    assert [s.value for s in spotted.scores["fuzzing"]] == [1.0] * 12


def test_an_unanswered_question_leaves_the_other_questions_what_they_are(
    told: list[ExplainedLatent],
) -> None:
    """Three questions of 40 contexts, one of them without an answer."""
    subject = replace(told[0], evidence=evidence(0, scored=60, silent=30), borrowed=None)
    pages = detection_pages(subject, 0)
    assert [len(page) for page in pages] == [40, 40, 40]
    lost = {item.context.text for item in pages[1]}
    active = sum(item.match for item in pages[1])

    def shy(request: Request) -> Mapping[str, Any] | None:
        texts = request.document["contexts"].values()
        return None if request.prompt == "detect/1" and lost.issuperset(texts) else reader(request)

    spotted = detected([subject], PlantedJudge(shy), seed=0)
    expected = ((60 - active) / 60 + (60 - (40 - active)) / 60) / 2
    assert spotted.scores["detection"][0].value == pytest.approx(expected)
    assert spotted.unanswered == {0}


def test_a_latent_without_explanation_is_wrong_and_nothing_is_asked(
    told: list[ExplainedLatent],
) -> None:
    judge = PlantedJudge(reader)
    silent = replace(told[0], explanation=None, borrowed=None)
    spotted = detected([silent], judge, seed=0)
    assert judge.asked == []
    assert [spotted.scores[kind][0].value for kind in KINDS] == [0.0, 0.0]


@given(seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_the_order_of_latents_and_contexts_changes_no_score(
    told: list[ExplainedLatent], seed: int
) -> None:
    rng = np.random.default_rng(seed)

    def mixed(contexts: tuple[Context, ...]) -> tuple[Context, ...]:
        return tuple(contexts[place] for place in rng.permutation(len(contexts)))

    def noisy(request: Request) -> Mapping[str, Any]:
        matches = {
            name: int(sum(map(ord, text + request.document["explanation"])) % 3 == 0)
            for name, text in request.document["contexts"].items()
        }
        return {"matches": matches}

    again = [
        replace(
            each,
            evidence=replace(
                each.evidence,
                scored=mixed(each.evidence.scored),
                random=mixed(each.evidence.random),
                hard=mixed(each.evidence.hard),
            ),
        )
        for each in (told[place] for place in rng.permutation(12))
    ]
    first, second = (detected(each, PlantedJudge(noisy), seed=0) for each in (told, again))
    for kind in KINDS:
        by_latent = sorted(second.scores[kind], key=lambda score: score.latent)
        assert by_latent == first.scores[kind]


def test_a_latent_is_asked_about_in_the_same_words_alone_and_among_others(
    told: list[ExplainedLatent],
) -> None:
    together, alone = PlantedJudge(reader), PlantedJudge(reader)
    detected(told, together, seed=0)
    detected(told[5:6], alone, seed=0)
    keys = {request.key("planted", {}) for request in together.asked}
    assert len(alone.asked) == 6
    assert {request.key("planted", {}) for request in alone.asked} <= keys


@given(scored=st.integers(10, 90), silent=st.integers(5, 60))
@settings(max_examples=20, deadline=None)
def test_questions_hold_each_context_once_and_are_never_too_long(scored: int, silent: int) -> None:
    subject = ExplainedLatent(evidence(0, scored=scored, silent=silent), 0)
    pages = detection_pages(subject, 0)
    assert max(map(len, pages)) <= MOST
    assert max(map(len, pages)) - min(map(len, pages)) <= len(pages)
    asked = Counter((item.context, item.match) for page in pages for item in page)
    assert asked == Counter((context, context.peak > 0) for context in subject.contexts)


@given(scored=st.integers(10, 90), silent=st.integers(5, 60))
@settings(max_examples=20, deadline=None)
def test_fuzzing_marks_as_many_tokens_wrongly_as_rightly(scored: int, silent: int) -> None:
    subject = ExplainedLatent(evidence(0, scored=scored, silent=silent), 0)
    pages = fuzzing_pages(subject, 0)
    items = [item for page in pages for item in page]
    right = [item for item in items if item.match]
    wrong = [item for item in items if not item.match]
    assert max(map(len, pages)) <= MOST
    assert all(len({i.context.text for i in page}) == len(page) for page in pages)
    assert Counter(i.context for i in right) == Counter(subject.evidence.scored)
    assert all(i.marks == tuple(v > 0 for v in i.context.activations) for i in right)
    assert not any(
        m and v for i in wrong for m, v in zip(i.marks, i.context.activations, strict=True)
    )
    again = [item for item in wrong if item.context.peak > 0]
    assert abs(len(again) - scored / 2) <= 1
    assert len(wrong) - len(again) == min(scored - len(again), 2 * silent)
    if scored - len(again) <= 2 * silent:
        assert Counter(sum(i.marks) for i in right) == Counter(sum(i.marks) for i in wrong)


def test_only_tokens_near_the_peak_are_right_and_white_space_is_never_marked() -> None:
    context = Context(0, (" a", "\n", " b", " c", " d"), (1.0, 4.0, 0.3 * 4, 1.1, -2.0))
    assert right_marks(context) == (False, False, True, False, True)


def test_a_context_without_silent_tokens_is_told_from_a_silent_context(
    told: list[ExplainedLatent],
) -> None:
    dense = tuple(
        replace(each, activations=(1.0,) * len(each.pieces)) for each in told[0].evidence.scored
    )
    subject = replace(told[0], evidence=replace(told[0].evidence, scored=dense))
    wrong = [item for page in fuzzing_pages(subject, 0) for item in page if not item.match]
    assert len(wrong) == 20
    assert all(item.context.peak == 0 for item in wrong)


def test_the_place_in_a_question_does_not_tell_whether_a_latent_is_active() -> None:
    places: list[int] = []
    truth: list[bool] = []
    for latent in range(60):
        for pages in (
            detection_pages(ExplainedLatent(evidence(latent, 60), 0), 0),
            fuzzing_pages(ExplainedLatent(evidence(latent, 60), 0), 0),
        ):
            for page in pages:
                places += range(len(page))
                truth += [item.match for item in page]
    assert len(places) == 60 * 80
    assert roc_auc_score(truth, places) == pytest.approx(0.5, abs=0.03)


# Embedding and surprisal


def bag_of_words(texts: Sequence[str]) -> np.ndarray:
    names = sorted({word for text in texts for word in text.split()})
    return np.array([[text.split().count(name) for name in names] for text in texts], float)


def test_an_embedding_of_words_retrieves_the_contexts_with_the_word(
    told: list[ExplainedLatent],
) -> None:
    found = embedding.score(told, bag_of_words)
    assert [score.value for score in found] == [1.0] * 12
    floors = [score.shuffled for score in found if score.shuffled is not None]
    assert np.mean(floors) == pytest.approx(0.5, abs=0.08)


def test_embedding_is_sklearns_auc_of_the_cosines(told: list[ExplainedLatent]) -> None:
    def embed(texts: Sequence[str]) -> np.ndarray:
        return np.array(
            [np.random.default_rng(list(text.encode())).normal(size=5) for text in texts]
        )

    for score, each in zip(embedding.score(told, embed), told, strict=True):
        target = embed([each.explanation])[0]
        cosines = [
            vector @ target / np.linalg.norm(vector) / np.linalg.norm(target)
            for vector in embed([context.text for context in each.contexts])
        ]
        assert score.value == pytest.approx(roc_auc_score(each.truth, cosines))


def test_a_constant_embedding_scores_exactly_one_half(told: list[ExplainedLatent]) -> None:
    found = embedding.score(told, lambda texts: np.ones((len(texts), 3)))
    assert {score.value for score in found} == {0.5}
    assert {score.constant for score in found} == {0.5}


@pytest.mark.parametrize(
    "embed",
    [
        lambda texts: np.ones(len(texts)),
        lambda texts: np.ones((len(texts) - 1, 3)),
        lambda texts: np.full((len(texts), 3), np.nan),
    ],
)
def test_embeddings_that_are_none_are_refused(
    told: list[ExplainedLatent], embed: Callable[[Sequence[str]], np.ndarray]
) -> None:
    with pytest.raises(ModelError, match="expected one finite vector for each"):
        embedding.score(told, embed)


def test_a_latent_without_explanation_scores_zero(told: list[ExplainedLatent]) -> None:
    silent = [replace(told[0], explanation=None, borrowed=None), *told[1:]]
    assert embedding.score(silent, bag_of_words)[0].value == 0.0


def test_surprisal_is_the_auc_of_the_drop_in_loss(model_dir: Path) -> None:
    scorer = load_model(str(model_dir), device="cpu")
    few = [
        replace(each, explanation="w5 w6", borrowed="w7")
        for each in subjects(2, scored=6, silent=2)
    ]
    for score, each in zip(surprisal.score(few, scorer), few, strict=True):
        texts = [context.text for context in each.contexts]

        def after(prefix: str, texts: list[str] = texts) -> np.ndarray:
            return losses(scorer, [(f"{prefix}\n", text) for text in texts])

        drops = after(surprisal.NEUTRAL) - after("w5 w6")
        assert score.value == pytest.approx(roc_auc_score(each.truth, drops))
        drops = after(surprisal.NEUTRAL) - after("w7")
        assert score.shuffled == pytest.approx(roc_auc_score(each.truth, drops))
        assert score.contexts == 10


# Intervention

RAISED = {latent: [(f"w{latent}", f"y{place}") for place in range(10)] for latent in range(8)}


@given(latent=st.integers(0, 7), lender=st.integers(0, 7), seed=st.integers(0, 99))
@settings(deadline=None)
def test_pairs_hold_the_latents_own_tokens_once_and_never_the_lenders(
    latent: int, lender: int, seed: int
) -> None:
    pairs = pairs_of(latent, RAISED, lender, seed)
    for place, pair in enumerate(pairs):
        own, other = pair.shown if pair.right == "A" else pair.shown[::-1]
        assert own == RAISED[latent][place]
        assert other[1] == f"y{place}"
        assert other[0] not in {f"w{latent}", f"w{lender}"}
    assert Counter(pair.right for pair in pairs) == {"A": 5, "B": 5}


def test_other_latents_and_sides_vary_from_pair_to_pair() -> None:
    pairs = [pair for latent in range(8) for pair in pairs_of(latent, RAISED, 0, 0)]
    firsts = [pairs_of(latent, RAISED, 0, seed)[0].right for latent in range(8) for seed in (0, 1)]
    assert len({pair.shown for pair in pairs}) > 40
    assert set(firsts) == {"A", "B"}


def effects(latents: int = 12) -> dict[int, Steered]:
    """Each latent raises its own word, among words that the prompt alone decides."""
    return {
        latent: Steered(
            1.0,
            0.5,
            tuple(SteeringEffect(f"p{i}", (f"y{i}", f"w{latent}"), ()) for i in range(20)),
            (0.5,) * 20,
            True,
        )
        for latent in range(latents)
    }


def test_an_explanation_of_the_effect_tells_it_from_that_of_another_latent() -> None:
    found = judged(subjects(), effects(), 10, PlantedJudge(reader), seed=0)
    assert [score.value for score in found.scores] == [1.0] * 12
    # The lender's word is in neither list: all that is left is a guess.
    assert [score.shuffled for score in found.scores].count(0.5) == 10
    assert {score.constant for score in found.scores} == {0.5}
    assert found.unanswered == frozenset()


@pytest.mark.parametrize("answer", [0, 1])
def test_always_picking_the_same_side_scores_exactly_one_half(answer: int) -> None:
    found = judged(subjects(), effects(), 10, PlantedJudge(constantly(answer)), seed=0)
    assert {score.value for score in found.scores} == {0.5}


def test_the_explanation_is_not_written_from_the_prompts_it_is_scored_on() -> None:
    judge = PlantedJudge(reader)
    judged(subjects(), effects(), 10, judge, seed=0)
    explaining = [each.document for each in judge.asked if each.prompt == "effect/1"]
    picking = [each.document for each in judge.asked if each.prompt == "pick/1"]
    shown = {f"p{i}" for i in range(10)}
    assert all({e["prompt"] for e in document["effects"]} == shown for document in explaining)
    raised = {token for document in picking for p in document["pairs"].values() for token in p["A"]}
    assert {f"y{i}" for i in range(10, 20)} <= raised
    assert raised.isdisjoint(f"y{i}" for i in range(10))


@pytest.mark.parametrize("prompt", ["effect/1", "pick/1"])
def test_an_effect_left_unanswered_is_wrong_and_reported(prompt: str) -> None:
    def shy(request: Request) -> Mapping[str, Any] | None:
        lost = request.prompt == prompt and "w4" in json.dumps(
            request.document.get("explanation") or request.document["effects"]
        )
        return None if lost else reader(request)

    found = judged(subjects(), effects(), 10, PlantedJudge(shy), seed=0)
    assert found.unanswered == {4}
    assert {score.latent for score in found.scores if score.value == 0.0} == {4}
    assert {score.value for score in found.scores} == {0.0, 1.0}


def test_the_order_of_steered_latents_changes_no_score() -> None:
    def noisy(request: Request) -> Mapping[str, Any]:
        if request.prompt == "effect/1":
            return reader(request)
        pairs = request.document["pairs"].items()
        return {"picks": {name: "AB"[sum(map(ord, str(pair))) % 2] for name, pair in pairs}}

    given_subjects, given_effects = subjects(), effects()
    first = judged(given_subjects, given_effects, 10, PlantedJudge(noisy), seed=0)
    turned = dict(reversed(given_effects.items()))
    second = judged(given_subjects[::-1], turned, 10, PlantedJudge(noisy), seed=0)
    plain = [replace(score, shuffled=None) for score in first.scores]
    assert [replace(score, shuffled=None) for score in second.scores[::-1]] == plain


@given(order=st.permutations(range(30)))
@settings(max_examples=10, deadline=None)
def test_prompts_are_beginnings_and_no_document_gives_two(order: list[int]) -> None:
    texts = [" ".join(f"t{i}x{j}" for j in range(5 + i)) for i in range(30)]
    explaining, scoring = prompts_of([texts[place] for place in order], seed=0)
    assert (explaining, scoring) == prompts_of(texts, seed=0)
    assert len(explaining) == len(scoring) == 10
    sources = [[t for t in texts if t.startswith(f"{p} ")] for p in (*explaining, *scoring)]
    assert all(len(each) == 1 for each in sources)
    assert len({each[0] for each in sources}) == 20


# End to end


SIZES = AutointerpSizes(
    latents=20, strata=4, intervened=10, evidence=EvidenceSizes(width=8, scored=12)
)


UNSTEERED = replace(SIZES, intervened=0)


@pytest.fixture(scope="module")
def corpus() -> tuple[str, ...]:
    rng = np.random.default_rng(0)
    return tuple(" ".join(f"w{i}" for i in rng.integers(0, 60, 24)) for _ in range(150))


@pytest.fixture(scope="module")
def latents(model_dir: Path, sae_dirs: dict[str, Path]) -> Latents:
    model = load_model(str(model_dir), device="cpu")
    dictionary = load_dictionary(str(sae_dirs["topk"]), device="cpu")
    site = model.site("blocks.1.hook_resid_post")
    return Latents(dictionary, model, site, Store(None), 32, lambda *_: None)


@pytest.fixture(scope="module")
def oracle(latents: Latents, corpus: tuple[str, ...]) -> Callable[[Request], Mapping[str, Any]]:
    """Knows by heart which contexts activate which latent, and says its number."""
    chosen = choose(latents, corpus, 0, SIZES).subjects
    names = {
        tuple(explain.request((*s.evidence.top, *s.evidence.samples), ()).document["contexts"]): s
        for s in chosen
    }
    by_number = {str(s.latent): s for s in chosen}

    def answer(request: Request) -> Mapping[str, Any]:
        document = request.document
        if request.prompt == "explain/1":
            return {"explanation": f"number {names[tuple(document['contexts'])].latent}"}
        if request.prompt in ("effect/1", "pick/1"):
            return reader(request)
        subject = by_number[word_of(document["explanation"])]
        matches = {}
        for name, text in document["contexts"].items():
            bare = text.replace("<<", "").replace(">>", "")
            active = {c.text.strip(): c for c in subject.evidence.scored}.get(bare.strip())
            fits = active is not None
            if active and request.prompt == "fuzz/1":
                marks = [word.startswith("<<") for word in text.split()]
                high = [v >= 0.3 * active.peak for v in active.activations]
                fits = marks == high
            matches[name] = int(fits)
        return {"matches": matches}

    return answer


def figures(
    latents: Latents,
    corpus: Sequence[str],
    answer: Any,
    sizes: AutointerpSizes = SIZES,
    **more: Any,
) -> dict[str, Estimate]:
    found = scored(given_of(latents, corpus=corpus, judge=PlantedJudge(answer), **more), sizes)
    return {estimate.metric: estimate for estimate in found}


@pytest.fixture(scope="module")
def known_by_heart(latents: Latents, corpus: tuple[str, ...], oracle: Any) -> dict[str, Estimate]:
    """What a judge scores that knows everything."""
    return figures(latents, corpus, oracle, scorer=latents.model, embedder=bag_of_words)


def test_every_name_is_registered_and_measured_in_order(
    known_by_heart: dict[str, Estimate],
) -> None:
    found = [(each.metric, dict(each.params)) for each in known_by_heart.values()]
    assert found == [(name, dict(params)) for name, params in NAMES]
    assert {name for name, _ in NAMES} == {n for n in known() if n.startswith("autointerp.")}


def test_a_judge_that_knows_scores_one_far_above_the_shuffled_floor(
    known_by_heart: dict[str, Estimate],
) -> None:
    found = known_by_heart
    for kind in KINDS:
        estimate = found[f"autointerp.{kind}"]
        assert estimate.value == 1.0
        assert estimate.n["latents"] == 20
        assert estimate.details["floors"]["constant"] == 0.5
        floor = estimate.details["floors"]["shuffled"]
        assert floor["latents"] == 10
        assert 0.3 < floor["value"] < 0.7
        assert estimate.details["floors"]["gain"]["ci"][0] > 0.2
    assert found["autointerp.failed"].value == 0.0
    assert found["autointerp.intervention"].status == "ok"
    assert found["autointerp.intervention"].n["latents"] == 10


def test_the_contexts_for_scoring_are_of_documents_that_explain_nothing(
    latents: Latents, corpus: tuple[str, ...]
) -> None:
    chosen = choose(latents, corpus, 0, SIZES)
    assert len(chosen.subjects) == 20
    explaining = {
        c.document for s in chosen.subjects for c in (*s.evidence.top, *s.evidence.samples)
    }
    assert explaining.isdisjoint(c.document for s in chosen.subjects for c in s.contexts)
    densities = latents.densities(corpus)
    for one in chosen.subjects:
        for other in chosen.subjects:
            if one.stratum < other.stratum:
                assert densities[one.latent] <= densities[other.latent]


def test_the_details_are_plain_json_and_tell_what_was_said_of_each_latent(
    known_by_heart: dict[str, Estimate],
) -> None:
    found = known_by_heart
    for estimate in found.values():
        assert json.loads(json.dumps(estimate.details, allow_nan=False)) == estimate.details
    rows = found["autointerp.detection"].details["latents"]
    assert [row["latent"] for row in rows] == sorted(row["latent"] for row in rows)
    assert all(row["explanation"] == f"number {row['latent']}" for row in rows)
    assert all(row["scores"]["fuzzing"] == 1.0 for row in rows)
    spent = found["autointerp.failed"].details["spent"]
    assert spent["explaining"]["requests"] == 20
    assert spent["explaining"]["tokens_per_latent"] == 100


def test_without_models_surprisal_and_embedding_are_not_applicable(
    latents: Latents, corpus: tuple[str, ...], oracle: Any
) -> None:
    found = figures(latents, corpus, oracle, UNSTEERED)
    assert found["autointerp.intervention"].status == "undefined"
    for metric, flag in (("surprisal", "--sae-scorer"), ("embedding", "--sae-embedder")):
        assert found[f"autointerp.{metric}"].status == "not_applicable"
        assert flag in found[f"autointerp.{metric}"].reason


def test_with_models_they_are_measured(known_by_heart: dict[str, Estimate]) -> None:
    found = known_by_heart
    for metric in ("surprisal", "embedding"):
        estimate = found[f"autointerp.{metric}"]
        assert 0 < estimate.value < 1
        assert estimate.details["floors"]["constant"] == 0.5
        assert estimate.details["floors"]["shuffled"]["latents"] == 10


@pytest.mark.parametrize(("abstaining", "status"), [(2, "ok"), (3, "undefined")])
def test_abstentions_lower_the_score_and_more_than_a_tenth_of_them_leave_none(
    latents: Latents, corpus: tuple[str, ...], oracle: Any, abstaining: int, status: str
) -> None:
    chosen = choose(latents, corpus, 0, SIZES).subjects
    silent = {str(each.latent) for each in chosen[:abstaining]}

    def shy(request: Request) -> Mapping[str, Any] | None:
        about = request.document.get("explanation", "-")
        return (
            None if request.prompt == "detect/1" and word_of(about) in silent else oracle(request)
        )

    found = figures(latents, corpus, shy, UNSTEERED)
    assert found["autointerp.failed"].value == pytest.approx(abstaining / 20)
    assert found["autointerp.failed"].details["failed"] == sorted(map(int, silent))
    assert found["autointerp.detection"].status == status
    assert found["autointerp.fuzzing"].status == status
    if status == "ok":
        assert found["autointerp.detection"].value == pytest.approx(1 - abstaining / 20)
    else:
        assert "15%" in found["autointerp.detection"].reason


def test_an_explanation_that_is_not_given_counts_as_a_failure(
    latents: Latents, corpus: tuple[str, ...]
) -> None:
    found = figures(latents, corpus, lambda request: None, UNSTEERED)
    assert found["autointerp.failed"].value == 1.0
    assert found["autointerp.detection"].status == "undefined"
    assert "unanswered" in found["autointerp.detection"].reason


def test_the_order_of_the_corpus_changes_no_value(
    latents: Latents, corpus: tuple[str, ...], oracle: Any
) -> None:
    def noisy(request: Request) -> Mapping[str, Any]:
        if request.prompt in ("detect/1", "fuzz/1"):
            texts = request.document["contexts"].items()
            return {"matches": {name: sum(map(ord, text)) % 2 for name, text in texts}}
        return reader(request)

    first = figures(latents, corpus, noisy)
    second = figures(latents, corpus[::-1], noisy)
    for name, _ in NAMES:
        assert second[name].value == first[name].value
        assert second[name].ci == first[name].ci


def test_a_corpus_that_is_too_small_leaves_everything_undefined_and_asks_nothing(
    latents: Latents, corpus: tuple[str, ...]
) -> None:
    judge = PlantedJudge(reader)
    found = scored(given_of(latents, corpus=corpus[:4], judge=judge), SIZES)
    assert judge.asked == []
    assert {each.status for each in found} == {"undefined"}
    assert all("effective n is small" in each.reason for each in found)
    passed_over = Counter()
    for row in found[0].details["drawn"].values():
        passed_over.update(row["passed_over"])
    assert passed_over.total() > 0
