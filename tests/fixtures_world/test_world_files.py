"""The committed world: its files, its SAEs' configurations, its card, its model."""

import dataclasses
import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from fixtures import WORLD, corpus, dictionaries, examination, language_model

MEGABYTE = 1_000_000
TEXT_FORMATS = {".json", ".jsonl", ".toml", ".md", ".jinja"}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@cache
def card() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((WORLD / "card.json").read_text(encoding="utf-8"))
    return loaded


def world_files() -> list[Path]:
    return [path for path in WORLD.rglob("*") if path.is_file()]


def test_the_world_is_at_most_fifteen_megabytes() -> None:
    assert sum(path.stat().st_size for path in world_files()) <= 15 * MEGABYTE


def test_the_world_holds_safetensors_and_text_and_nothing_executable() -> None:
    assert {path.suffix for path in world_files()} <= TEXT_FORMATS | {".safetensors"}


def test_no_text_file_names_a_path_of_the_machine_it_was_made_on() -> None:
    for path in world_files():
        if path.suffix in TEXT_FORMATS - {".jsonl"} and path.name != "tokenizer.json":
            text = path.read_text(encoding="utf-8")
            assert not any(root in text for root in ("/tmp", "/home", "/work", "/root")), path


@pytest.mark.parametrize("name", dictionaries.NAMES)
def test_every_sae_says_where_it_belongs(name: str) -> None:
    config = json.loads((WORLD / "saes" / name / "cfg.json").read_text(encoding="utf-8"))
    metadata = config["metadata"]
    assert (config["d_in"], config["d_sae"]) == (128, 1024)
    assert config["normalize_activations"] == "none"
    assert metadata["model_name"] == "pytest-sae/world"
    assert metadata["hook_name"] == f"blocks.{dictionaries.BLOCK}.hook_resid_post"
    assert metadata["hf_hook_name"] == f"model.layers.{dictionaries.BLOCK}"
    assert metadata["prepend_bos"] is True
    assert metadata["context_size"] > 0
    assert metadata["sae_lens_version"]
    assert metadata["l0"] == pytest.approx(card()["saes"][name]["l0"], abs=1e-3)


@pytest.mark.parametrize("name", dictionaries.NAMES)
def test_every_sae_has_finite_weights(name: str) -> None:
    with safe_open(WORLD / "saes" / name / "sae_weights.safetensors", "pt") as weights:
        assert all(weights.get_tensor(key).isfinite().all() for key in weights.keys())  # noqa: SIM118


@pytest.mark.parametrize("name", dictionaries.FAMILIES)
def test_good_saes_explain_four_fifths_of_the_variance_with_few_latents(name: str) -> None:
    quality = card()["saes"][name]
    assert quality["explained_variance"] > 0.8
    assert quality["l0"] < 40


def test_explained_variance_grows_along_the_training_run() -> None:
    run = [card()["saes"][name]["explained_variance"] for name in ("topk-001", "topk-010", "topk")]
    assert run == sorted(run)


def test_the_spoiled_sae_is_as_sparse_as_the_good_one_and_explains_nothing() -> None:
    spoiled, good = card()["saes"]["random"], card()["saes"]["topk"]
    assert spoiled["l0"] == pytest.approx(good["l0"], rel=0.01)
    assert spoiled["explained_variance"] < 0.2


def test_every_exam_of_the_card_is_passed() -> None:
    accuracies = {name: exam["accuracy"] for name, exam in card()["accuracy"].items()}
    assert set(accuracies) >= examination.BEYOND_THE_GOAL
    gated = accuracies.keys() - examination.BEYOND_THE_GOAL
    assert not [name for name in gated if accuracies[name] < examination.GOAL]


def test_linear_probes_read_labels_that_single_words_do_not_give_away() -> None:
    for name, best in card()["single_words"].items():
        assert card()["probes"][name] > best["balanced_accuracy"] + 0.05, name


def thinned(exam: examination.Exam) -> examination.Exam:
    """About sixty items of an exam."""
    step = max(1, len(exam.prompts) // 60)
    options = exam.options[::step] if exam.options else None
    return dataclasses.replace(
        exam, prompts=exam.prompts[::step], answers=exam.answers[::step], options=options
    )


@cache
def model_and_tokenizer() -> tuple[Any, Any]:
    return language_model.load(WORLD / "model")


GATED = [exam for exam in examination.exams() if exam.name not in examination.BEYOND_THE_GOAL]


@pytest.mark.parametrize("exam", [*map(thinned, GATED)], ids=lambda exam: exam.name)
def test_the_loaded_model_passes_a_sample_of_each_exam(exam: examination.Exam) -> None:
    assert examination.take(exam, *model_and_tokenizer()).accuracy >= examination.GOAL


def test_the_model_is_stored_in_half_precision() -> None:
    with safe_open(WORLD / "model" / "model.safetensors", "pt") as weights:
        assert {weights.get_tensor(key).dtype for key in weights.keys()} == {torch.float16}  # noqa: SIM118


@pytest.mark.parametrize(
    "text", ["Paris is a city.", "zyxwv naïve 日本語 <tag>\n\tdef f(x): return 'x'", "A  B   C"]
)
def test_any_text_is_tokenised_without_loss(text: str) -> None:
    _, words = model_and_tokenizer()
    ids = words(text)["input_ids"]
    assert ids[0] == words.bos_token_id
    assert words.decode(ids, skip_special_tokens=True).removeprefix(" ") == text


def test_every_answer_is_a_single_token_but_for_one_that_the_lexicon_missed() -> None:
    _, words = model_and_tokenizer()
    answers = {answer for exam in examination.exams() for answer in exam.answers}
    longer = {a for a in answers if len(words(a, add_special_tokens=False)["input_ids"]) != 1}
    assert longer == {"Vietnamese"}


def test_the_topk_sae_scores_what_its_card_says_on_a_part_of_the_stream() -> None:
    model, words = model_and_tokenizer()
    texts = corpus.column(corpus.read(WORLD / "texts" / "stream.jsonl"), "text")[:200]
    rows = language_model.encode([((text, 1.0),) for text in texts], words)
    x = dictionaries.activations(rows, model)
    measured = dictionaries.measure(dictionaries.load(WORLD / "saes" / "topk"), x)
    told = card()["saes"]["topk"]
    assert measured.explained_variance == pytest.approx(told["explained_variance"], abs=0.03)


def test_tasks_name_columns_and_classes_that_the_texts_have() -> None:
    tasks = tomllib.loads((WORLD / "tasks.toml").read_text(encoding="utf-8"))
    for task in (*tasks["scr"], *tasks["tpp"]):
        dataset = tasks["datasets"][task["dataset"]]
        for split in ("train", "test"):
            rows = corpus.read(WORLD / dataset[split])
            for column, wanted in wanted_values(task):
                assert wanted <= set(corpus.column(rows, column))


def wanted_values(task: dict[str, Any]) -> list[tuple[str, set[str]]]:
    """The columns of a task and the values that it needs."""
    if "classes" in task:
        return [(task["column"], set(task["classes"]))]
    concepts = (task["intended"], task["spurious"])
    return [(c["column"], {c["positive"], c["negative"]}) for c in concepts]
