"""SHIFT on a tiny model: what the judge is shown, what is ablated, what words leave."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from pytest_sae.data.calibration import calibration_texts
from pytest_sae.data.tasks import Contrast, Tasks
from pytest_sae.data.words import delete
from pytest_sae.errors import DataError, JudgeError
from pytest_sae.families.registry import card_of
from pytest_sae.judge.base import Answer, Judge, Spent
from pytest_sae.judge.calibration.contexts import known
from pytest_sae.judge.calibration.latent_rules import RULES
from pytest_sae.judge.calibration.requests import first
from pytest_sae.judge.marking import unmark
from pytest_sae.judge.request import Request
from pytest_sae.measure import scr_and_tpp, shift
from pytest_sae.measure.given import Given
from pytest_sae.measure.given import measured as measured_of
from pytest_sae.metrics.scr import fit_probes
from pytest_sae.metrics.shift import score_task
from pytest_sae.session.session import EvalSession, LoadedSAE
from tests.labelled import TASKS, labelled_data
from tests.session.test_session import explicit_means, one_text
from tests.sessions import opened, tiny_world
from tests.tiny import tiny_sae

GENDER = "gender: f or m"


class Answers:
    """A judge that keeps what it is asked and answers by a function of the document."""

    name = "a function"
    kind: Literal["rules", "model"] = "rules"
    spent = Spent()

    def __init__(self, ratings: Callable[[dict[str, object]], int | None]) -> None:
        self.ratings = ratings
        self.asked: list[Request] = []

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        self.asked += requests
        return [self._answer(each.document) for each in requests]

    def _answer(self, document: dict[str, object]) -> Answer:
        rating = self.ratings(document)
        if rating is None:
            return Answer(None, "no words")
        names = [each["name"] for each in document["concepts"]]
        ratings = {name: rating if name == GENDER else 1 for name in names}
        return Answer({"reason": "so it says", "ratings": ratings})


def everything() -> Answers:
    return Answers(lambda document: 4)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus holds every test text too, and must not show them."""
    directory = tiny_world(tmp_path_factory.mktemp("world"), "topk", "jumprelu", "standard")
    data = directory / "data"
    rows = [json.loads(line) for line in (data / "test.jsonl").read_text().splitlines()]
    with (data / "corpus.jsonl").open("a") as corpus:
        corpus.writelines(json.dumps({"text": row["text"]}) + "\n" for row in rows)
    tiny_sae(
        directory / "normed",
        arch="topk",
        model=str(directory / "model"),
        normalize_activations="layer_norm",
    )
    return directory


def measured(session: EvalSession, sae: LoadedSAE, judge: Judge, tasks: Tasks | None = None):
    given = Given(session.latents(sae), tasks or session.tasks, 0, {"fits": 2}, judge)
    return {each.metric: each for each in measured_of(card_of("shift"), given)}


@pytest.mark.parametrize("arch", ["topk", "jumprelu", "standard", "normed"])
def test_every_selection_reads_what_explicit_ablation_gives(world: Path, arch: str) -> None:
    session, sae = opened(world, arch)
    task, latents = session.tasks.scr[0], session.latents(sae)
    read = shift._TaskRead.of(latents, session.tasks, task, 0, 2)
    opinions = {
        int(each): shift.Opinion({task.intended.name: 0, GENDER: 2 * (each % 2)})
        for each in read.candidates.latents
    }
    (deletion,) = shift.deletions(session.tasks)
    means = shift.means_of_deleted(latents, session.tasks, [deletion])
    scored = score_task(
        read.data, read.candidates, opinions, shift._about(task), deletion.read(task, means), 0
    )
    weight = read.data.confounded.weight.astype(float)
    bias = read.data.confounded.bias.astype(float)
    for selection, chosen in scored.sets.items():
        kept = explicit_means(sae, task.test.texts, chosen)
        expected = (kept @ weight.T + bias).T
        found = scored.readings[selection]["plain"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.ptp(expected))
    trained = explicit_means(sae, task.train.texts, scored.sets["effect"])
    taken = read.data.removal_train.means([scored.sets["effect"]])[0]
    np.testing.assert_allclose(
        read.data.x_train - taken, trained, rtol=1e-5, atol=1e-5 * np.ptp(trained)
    )


def test_the_probes_are_those_of_scr(world: Path) -> None:
    session, sae = opened(world, "topk")
    task, latents = session.tasks.scr[0], session.latents(sae)
    read = shift._TaskRead.of(latents, session.tasks, task, 0, 2)
    fresh = fit_probes(task.name, read.data.x_train, read.data.train, 0, 2)
    for one, other in zip(read.data.probes.fits, fresh.fits, strict=True):
        assert np.array_equal(one.weight, other.weight)


def test_each_candidate_is_asked_about_once_for_the_concepts_of_all_tasks(world: Path) -> None:
    session, sae = opened(world, "topk")
    judge = everything()
    again = replace(session.tasks.scr[0], name="again")
    tasks = replace(session.tasks, scr=(session.tasks.scr[0], again))
    found = measured(session, sae, judge, tasks)
    rows = found["shift"].details["candidates"]
    assert len(judge.asked) == len(rows) == len({row["latent"] for row in rows})
    assert all(set(row["tasks"]) == {"baker_judge", "again"} for row in rows)
    for request in judge.asked:
        assert request.document["concepts"] == [
            {"name": GENDER, "values": ["f", "m"]},
            {"name": "job: baker or judge", "values": ["baker", "judge"]},
        ]
        assert len(request.document["contexts"]) <= 10


def test_calibration_asks_about_a_concept_in_the_words_in_which_shift_does(world: Path) -> None:
    session, sae = opened(world, "topk")
    task = replace(session.tasks.scr[0], spurious=Contrast("gender", "male", "female"))
    judge = Answers(lambda document: 0)
    measured(session, sae, judge, replace(session.tasks, scr=(task,)))
    (rule,) = (rule for rule in RULES if rule.name == "women")
    (latent,) = known(calibration_texts(), [rule], 0)
    asked, calibrated = judge.asked[0], first(latent)["rate"]
    gender = next(each for each in asked.document["concepts"] if each["values"][0] == "male")
    assert gender in calibrated.document["concepts"]
    assert asked.prompt == calibrated.prompt
    assert asked.messages[0] == calibrated.messages[0]
    assert rule.concept == task.spurious.name == gender["name"]


def test_the_judge_sees_no_text_of_a_test_split(world: Path) -> None:
    session, sae = opened(world, "topk")
    judge = everything()
    measured(session, sae, judge)
    windows = [unmark(each)[0] for request in judge.asked for each in request.document["contexts"]]
    tested = {" ".join(text.split()[:6]) for text in session.tasks.scr[0].test.texts}
    known = {" ".join(text.split()[:6]) for text in session.tasks.corpus.texts}
    assert windows
    assert tested & known
    assert not {" ".join(words[:6]) for words in windows} & tested


def test_a_judge_that_accepts_all_or_abstains_from_all(world: Path) -> None:
    session, sae = opened(world, "jumprelu")
    table = measured(session, sae, everything())["shift"].details["by_task"]["baker_judge"]
    assert table["sets"]["judge"] == table["sets"]["effect"]
    silent = measured(session, sae, Answers(lambda document: None))
    assert silent["shift.abstained"].value == 1.0
    assert silent["shift.accepted"].value == 0.0
    assert silent["shift.agreement"].status == "undefined"
    assert silent["shift"].details["by_task"]["baker_judge"]["sets"]["judge"] == []
    assert {row["reason"] for row in silent["shift"].details["candidates"]} == {"no words"}


def test_what_is_left_without_words_is_what_the_model_makes_of_it(world: Path) -> None:
    session, sae = opened(world, "topk")
    task, latents = session.tasks.scr[0], session.latents(sae)
    (deletion,) = shift.deletions(session.tasks)
    read = deletion.read(task, shift.means_of_deleted(latents, session.tasks, [deletion]))
    assert set(read.words) <= {f"w{each}" for each in range(12, 20)}
    assert read.words
    for text, mean in list(zip(task.test.texts, read.x_test, strict=True))[:10]:
        left = " ".join(word for word in text.split() if word not in read.words)
        assert delete(text, read.words) == left
        np.testing.assert_allclose(mean, one_text(sae, left).mean(0), atol=1e-5)


def test_words_of_the_task_file_are_taken_as_they_are(world: Path, tmp_path: Path) -> None:
    labelled_data(tmp_path)
    (tmp_path / "tasks.toml").write_text(
        TASKS.replace('negative = "m"', 'negative = "m", words = ["W12", "w30"]')
    )
    session, sae = opened(world, "topk", data=str(tmp_path / "tasks.toml"))
    details = measured(session, sae, everything())["shift"].details
    assert details["by_task"]["baker_judge"]["words"] == ["w12", "w30"]


def test_the_values_are_the_same_to_the_bit_with_a_cold_and_a_warm_cache(
    world: Path, tmp_path: Path
) -> None:
    runs = []
    for cache in (None, str(tmp_path), str(tmp_path)):
        session, sae = opened(world, "topk", cache=cache)
        if runs:
            scr_and_tpp.measure_scr(Given(session.latents(sae), session.tasks, 0, {"fits": 2}))
        runs.append(measured(session, sae, everything()))
    assert runs[0] == runs[1] == runs[2]
    assert session.store.work.model_passes == 0


def test_everything_announced_is_returned(world: Path) -> None:
    session, sae = opened(world, "topk")
    found = measured(session, sae, everything())
    assert [(each.metric, dict(each.params)) for each in found.values()] == [
        (metric, dict(params)) for metric, params in shift.NAMES
    ]
    for each in found.values():
        json.dumps(dict(each.details), allow_nan=False)


def test_without_tasks_nothing_has_data_and_the_judge_is_not_asked(world: Path) -> None:
    session, sae = opened(world, "topk")
    judge = everything()
    found = measured(session, sae, judge, replace(session.tasks, scr=()))
    assert {each.status for each in found.values()} == {"no_data"}
    assert len(found) == len(shift.NAMES)
    assert judge.asked == []


def test_without_unlabelled_texts_it_is_said_what_to_do(world: Path) -> None:
    session, sae = opened(world, "topk")
    with pytest.raises(DataError, match=r"no \[corpus\] texts.*test_shift.py"):
        measured(session, sae, everything(), replace(session.tasks, corpus=None))


def test_a_judge_that_cannot_be_asked_stops_the_measurement(world: Path) -> None:
    class Refuses(Answers):
        def ask(self, requests: Sequence[Request]) -> list[Answer]:
            raise JudgeError("no key")

    session, sae = opened(world, "topk")
    with pytest.raises(JudgeError, match="no key"):
        measured(session, sae, Refuses(lambda document: 0))
