"""Sparse probing and absorption through a whole session: from texts to figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from pytest_sae.data import sae_probes
from pytest_sae.data.sae_probes import LastTokenTask, RowSplit
from pytest_sae.data.sources import load_tasks
from pytest_sae.data.tasks import ClassTask, ClassTexts, Sizes, Spelling
from pytest_sae.errors import DataError
from pytest_sae.measure import absorption, last_token_probing
from pytest_sae.measure.given import Given
from pytest_sae.metrics import last_token_probing_baseline, transfer
from pytest_sae.metrics.last_token_probing import LabelledRows, score
from pytest_sae.metrics.last_token_probing_baseline import ActivationRows
from pytest_sae.models.tokenize import Batch
from pytest_sae.session.session import EvalSession, LoadedSAE
from tests.labelled import TASKS, labelled_data
from tests.measure.given import given_of
from tests.sessions import loaded
from tests.tiny import tiny_model, tiny_sae

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = ROOT / "fixtures" / "world" / "saes" / "topk"


def opened(path: Path, data: Path | None, suite: str = "smoke") -> tuple[EvalSession, LoadedSAE]:
    return loaded(path, data=data and str(data), suite=suite)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EvalSession, LoadedSAE]]:
    directory = tmp_path_factory.mktemp("tiny")
    tiny_model(directory / "model")
    labelled_data(directory)
    tiny_sae(directory / "sae", model=str(directory / "model"))
    text = (directory / "tasks.toml").read_text()
    again = text[text.index("[[scr]]") : text.index("[[tpp]]")]
    again = again.replace('"baker_judge"', '"judge_miner"').replace('"judge"', '"miner"')
    again = again.replace('"baker"', '"judge"')
    (directory / "two.toml").write_text(text + again)
    session, sae = opened(directory / "sae", directory / "two.toml")
    yield session, sae
    session.close()


def test_sparse_probing_runs_on_what_scr_and_tpp_pooled(
    tiny: tuple[EvalSession, LoadedSAE],
) -> None:
    session, sae = tiny
    session.measure("tpp", sae)
    work = session.store.work
    before = (work.model_passes, work.encode_passes)
    found = {each.key: each.estimate for each in session.measure("sparse_probing", sae)}
    assert (work.model_passes, work.encode_passes) == before
    assert found["sparse_probing.auc:k=16"].n == {"texts": 275, "datasets": 3, "concepts": 7}
    assert found["sparse_probing.all_latents"].value > 0.55
    # Gender is the spurious concept of both tables.
    transfer = found["sparse_probing.transfer:binarised=False,pooling=mean"]
    assert set(transfer.details["pairs"]) == {
        "baker_judge > judge_miner",
        "judge_miner > baker_judge",
    }
    unsure = {key for key, each in found.items() if each.status != "ok"}
    assert unsure <= {"sparse_probing.retention"}


TRANSFER = """
[datasets.other]
train = "other/train.jsonl"
test = "other/test.jsonl"
text = "text"
[[transfer]]
name = "job"
datasets = ["jobs", "other"]
column = "job"
classes = ["baker", "miner"]
"""


def test_a_transfer_table_reads_on_each_data_set_what_was_learned_on_the_other(
    tiny: tuple[EvalSession, LoadedSAE], tmp_path: Path
) -> None:
    """Against latents that are pooled one text at a time, with no other table in the file."""
    _, sae = tiny
    labelled_data(tmp_path)
    (tmp_path / "other").mkdir()
    labelled_data(tmp_path / "other", seed=5)
    (tmp_path / "t.toml").write_text(TASKS[: TASKS.index("[[scr]]")] + TRANSFER)
    session, sae = opened(Path(sae.dictionary.info.source), tmp_path / "t.toml")
    found = {each.key: each.estimate for each in session.measure("sparse_probing", sae)}
    assert found["sparse_probing.all_latents"].status == "no_data"
    (task,) = session.tasks.transfer
    splits = [(by_hand(sae, part, "train"), by_hand(sae, part, "test")) for part in task.parts]
    for pooling in ("mean", "max", "sum", "last"):
        told = found[f"sparse_probing.transfer:binarised=False,pooling={pooling}"]
        assert told.n == {"texts": sum(len(test.cells) for _, test in splits), "pairs": 2}
        for place, (train, home) in enumerate(splits):
            (expected,) = transfer.fit_and_read(train, home, [splits[1 - place][1]])
            pair = f"{expected.source} > {expected.target}"
            value = float(expected.shares[pooling, False].sum())
            # Batched and alone, texts round otherwise: a few of 2500 pairs of texts change places.
            assert told.details["pairs"][pair] == pytest.approx(value, abs=5e-3), pair
    session.close()


def by_hand(sae: LoadedSAE, part: ClassTask, split: str) -> transfer.PooledTexts:
    texts: ClassTexts = getattr(part, split)
    codes = []
    for text in texts.texts:
        ids = torch.tensor([sae.model.tokenizer(text)["input_ids"]])
        ones = torch.ones_like(ids, dtype=torch.bool)
        x = sae.model.capture(Batch(ids, ones, ones, torch.tensor([0])), [sae.site])[sae.site]
        codes.append(sae.dictionary.encode(x[0, 1:]).detach().numpy())
    pooled = {
        "mean": [z.mean(0) for z in codes],
        "max": [z.max(0) for z in codes],
        "sum": [z.sum(0) for z in codes],
        "last": [z[-1] for z in codes],
    }
    labels = np.array(texts.labels)
    z = {name: sparse.csr_array(np.array(each)) for name, each in pooled.items()}
    return transfer.PooledTexts(f"{part.name} baker", z, labels == 0, labels)


def binary_tasks(seed: int) -> LastTokenTask:
    """Only the last word tells the label: w0 or w1, w2 or w3."""
    rng = np.random.default_rng(seed)
    last = rng.integers(0, 4, 160)
    texts = [
        " ".join(f"w{i}" for i in (*rng.integers(0, 56, rng.integers(2, 9)), end)) for end in last
    ]
    half = RowSplit(tuple(range(80)), tuple(range(80, 160)))
    return LastTokenTask(f"set{seed}", tuple(texts), tuple((last < 2).tolist()), half, half)


def test_last_token_probing_reads_the_latents_of_last_tokens(
    tiny: tuple[EvalSession, LoadedSAE], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, sae = tiny
    monkeypatch.setattr(sae_probes, "version", lambda: "test")
    task = binary_tasks(0)
    found = last_token_probing.measure_tasks(session.latents(sae), [task], 0, False)
    assert len(found) == 33
    rows, activations = [], []
    for text in task.texts:
        ids = torch.tensor([sae.model.tokenizer(text)["input_ids"]])
        ones = torch.ones_like(ids, dtype=torch.bool)
        x = sae.model.capture(Batch(ids, ones, ones, torch.tensor([0])), [sae.site])[sae.site]
        activations.append(x[0, -1].numpy())
        rows.append(sae.dictionary.encode(x[0, -1:])[0].detach().numpy())
    halves = np.arange(80), np.arange(80, 160)
    alone = LabelledRows(task.name, sparse.csr_array(rows), np.array(task.labels), *halves)
    for prefix, published in (
        (last_token_probing.PREFIX, False),
        (last_token_probing.CANONICAL, True),
    ):
        expected = score([alone], published, 0).values["auc"][0]
        values = [e.value for e in found if e.metric == f"{prefix}.auc"]
        np.testing.assert_allclose(values, expected, atol=1e-3)
        assert max(values) > 0.6
    assert found[0].details["source"] == "sae-probes test"
    raw = ActivationRows(task.name, np.array(activations), np.array(task.labels), *halves)
    baseline = last_token_probing_baseline.score([raw], 0).values
    for name, expected in baseline.items():
        (value,) = (
            e.value for e in found if e.metric == f"{last_token_probing.ACTIVATIONS}.{name}"
        )
        assert value == pytest.approx(expected[0], abs=1e-3)
    assert baseline["auc"][0] > 0.8


def test_without_the_extra_or_in_the_smoke_suite_last_tokens_are_skipped_and_why(
    tiny: tuple[EvalSession, LoadedSAE], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, sae = tiny
    (first, *_) = session.measure("last_token_probing", sae)
    assert first.estimate.status == "not_applicable"
    assert "--sae-suite=standard" in first.estimate.reason
    monkeypatch.setattr(sae_probes, "find_spec", lambda name: None)
    found = last_token_probing.measure(given_of(session.latents(sae), {"rows": 200}))
    assert len(found) == 33
    assert "pip install 'pytest-sae[probes]'" in found[0].reason


def test_absorption_is_undefined_where_the_vocabulary_has_no_words(
    tiny: tuple[EvalSession, LoadedSAE],
) -> None:
    session, sae = tiny
    found = [each.estimate for each in session.measure("absorption", sae)]
    assert {each.status for each in found} == {"undefined"}
    assert "0 letters begin 10 or more one-token words: none" in found[0].reason


def test_absorption_on_the_bundled_world_takes_one_pass_and_one_encode() -> None:
    session, sae = opened(BUNDLED, None)
    work = session.store.work
    before = work.encode_passes
    found = {each.key: each.estimate for each in session.measure("absorption", sae)}
    assert work.encode_passes == before + 1
    passes = work.model_passes
    value = found["absorption"]
    assert value.status == "ok"
    assert value.n["letters"] >= 20
    assert 0.2 < value.value < 0.5
    assert value.se < 0.02
    assert found["absorption.full"].value < value.value
    # Another dictionary of the same model runs the model no more.
    again = absorption.measure(Given(session.latents(sae), session.tasks, 0, {"words": 2000}))
    assert again[0].value == value.value
    assert work.model_passes == passes
    session.close()


def test_prompts_are_seeded_and_no_word_spells_itself() -> None:
    session, sae = opened(BUNDLED, None)
    latents = session.latents(sae)
    vocabulary = absorption._vocabulary(sae.model.tokenizer, Spelling(None, 3))
    assert "Abuja" in vocabulary.words
    assert all(len(word) > 1 for word in vocabulary.words)
    prompts = [absorption._prompts(latents, vocabulary, 3, seed) for seed in (0, 0, 1)]
    assert prompts[0].ids == prompts[1].ids != prompts[2].ids
    frame = sae.model.tokenizer(absorption.FRAME, add_special_tokens=False)["input_ids"]
    for word, ids in zip(vocabulary.ids, prompts[0].ids, strict=True):
        assert ids[0] == sae.model.tokenizer.bos_token_id
        assert ids[-1] == word
        assert word in frame or word not in ids[:-1]
    shown = sae.model.tokenizer.decode(prompts[0].ids[5][1:])
    assert shown.count("has the first letter:") == 3
    session.close()


def test_a_task_file_says_which_words_are_spelled(tmp_path: Path) -> None:
    labelled_data(tmp_path)
    (tmp_path / "words.jsonl").write_text('{"w": "cat"}\n{"w": "dog"}\n{"w": "cat"}\n')
    tasks = tmp_path / "tasks.toml"
    plain = load_tasks(tasks, Sizes(), 0)
    assert plain.spelling == Spelling(None, 10)
    text = tasks.read_text()
    tasks.write_text(text + '[spelling]\nfile = "words.jsonl"\nword = "w"\nexamples = 2\n')
    found = load_tasks(tasks, Sizes(), 0)
    assert found.spelling == Spelling(("cat", "dog"), 2)
    assert found.fingerprint != plain.fingerprint
    assert dataclasses.replace(found, spelling=plain.spelling, fingerprint="") == (
        dataclasses.replace(plain, fingerprint="")
    )
    tasks.write_text(text + "[spelling]\nexample = 2\n")
    with pytest.raises(DataError, match=r"unknown key spelling.example.*examples"):
        load_tasks(tasks, Sizes(), 0)
