"""Recordings: what is written comes back, in the same batches, and nothing damaged is read."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from pytest_sae.activations import recorder
from pytest_sae.activations.manifest import RecordedModel, RecordedSite
from pytest_sae.activations.recording import Recorder, Recording, record, record_vectors
from pytest_sae.activations.store import Store
from pytest_sae.activations.stream import ActivationBatch, TokenActivations, run
from pytest_sae.errors import DataError, ModelError
from pytest_sae.models.model import LanguageModel

HOOK, CONTEXT = "blocks.1.hook_resid_post", 12


def texts(count: int = 40, start: int = 0) -> tuple[str, ...]:
    return tuple(
        " ".join(f"w{(7 * i + j) % 59}" for j in range(1 + i % 9))
        for i in range(start, start + count)
    )


def live(model: LanguageModel, some: Sequence[str], hook: str = HOOK) -> TokenActivations:
    return TokenActivations(model, model.site(hook), some, CONTEXT, True, Store(None), 64)


def recorded(directory: Path, some: Sequence[str], column: Any = "x") -> TokenActivations:
    stream = Recording.open(directory).stream(some, Store(None), column)
    stream.tokens_per_batch = 64
    return stream


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_BATCH_TOKENS", 64)
    monkeypatch.setattr(recorder, "_SHARD_BYTES", 5000)


def same(one: Sequence[ActivationBatch], other: Sequence[ActivationBatch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a.batch.rows, b.batch.rows)
        and torch.equal(a.batch.valid, b.batch.valid)
        and torch.equal(a.batch.attention, b.batch.attention)
        and torch.equal(a.batch.ids[a.batch.attention], b.batch.ids[b.batch.attention])
        and torch.equal(a.x[a.batch.attention], b.x[b.batch.attention])
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.usefixtures("small_batches")
def test_what_was_recorded_comes_back_in_the_batches_that_the_model_saw(
    model: LanguageModel, tmp_path: Path
) -> None:
    written = "blocks.2.hook_mlp_out"
    record(
        model,
        model.site(HOOK),
        {"corpus": texts()},
        tmp_path / "rec",
        context=CONTEXT,
        written=model.site(written),
    )
    assert len(list((tmp_path / "rec").glob("*.safetensors"))) > 2
    for column, hook in (("x", HOOK), ("y", written)):
        one, other = (
            list(each)
            for each in (
                live(model, texts(), hook),
                recorded(tmp_path / "rec", texts(), column),
            )
        )
        assert len(one) > 3
        assert same(one, other)


@pytest.mark.usefixtures("small_batches")
def test_a_text_of_two_parts_comes_back_as_it_was_run_in_each(
    model: LanguageModel, tmp_path: Path
) -> None:
    parts = {"corpus": texts(30), "tasks": texts(30, start=20)}
    record(model, model.site(HOOK), parts, tmp_path / "rec", context=CONTEXT)
    for part in parts.values():
        assert same(list(live(model, part)), list(recorded(tmp_path / "rec", part)))


def test_some_of_the_texts_come_back_in_any_order(model: LanguageModel, tmp_path: Path) -> None:
    record(model, model.site(HOOK), {"": texts()}, tmp_path / "rec", context=CONTEXT)
    wanted = texts()[::-3]
    stream = recorded(tmp_path / "rec", wanted)
    expected = {
        int(row): part.x[place][part.batch.valid[place]]
        for part in live(model, wanted)
        for place, row in enumerate(part.batch.rows)
    }
    seen = {
        int(row): part.x[place][part.batch.valid[place]]
        for part in stream
        for place, row in enumerate(part.batch.rows)
    }
    assert seen.keys() == expected.keys() == set(range(len(wanted)))
    for row, x in seen.items():
        torch.testing.assert_close(x, expected[row])
    assert stream.pieces([0, 1]) == live(model, wanted).pieces([0, 1])
    assert "".join(stream.pieces([0])[0]) == wanted[0]


def test_the_model_of_a_recording_says_that_it_is_not_there(tmp_path: Path) -> None:
    stream = recorded(vectors(tmp_path / "rec"), texts(3))
    assert not stream.model.predicts
    assert stream.model.name == "an embedder"
    for use in (
        lambda: stream.model.hf.config,
        lambda: stream.model.tokenizer("w1"),
        lambda: stream.model.site(HOOK),
    ):
        with pytest.raises(ModelError, match="recorded activations: no model: an embedder"):
            use()
    assert stream.model.device == torch.device("cpu")  # where what was recorded is read
    run([stream])  # there is nothing to run


def vectors(directory: Path) -> Path:
    x = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
    return record_vectors(directory, texts(12), x, model="an embedder")


def test_one_vector_per_text_is_one_valid_token_per_text(tmp_path: Path) -> None:
    stream = recorded(vectors(tmp_path / "rec"), texts(12))
    x = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
    parts = list(stream)
    rows = torch.cat([part.batch.rows for part in parts])
    assert torch.equal(torch.cat([part.x_valid for part in parts]), x[rows])
    assert stream.pieces([4]) == [(texts(12)[4],)]
    assert Recording.open(tmp_path / "rec").shows


def test_texts_that_were_not_recorded_are_counted_and_one_is_named(tmp_path: Path) -> None:
    recording = Recording.open(vectors(tmp_path / "rec"))
    with pytest.raises(DataError, match=r"lacks 2 of 4 texts, such as 'never'.*record with"):
        recording.stream((*texts(2), "never", "nor this"), Store(None))
    with pytest.raises(DataError, match="no activations of a written site"):
        recording.stream(texts(2), Store(None), "y")


def test_nothing_is_left_of_a_recording_that_fails(tmp_path: Path) -> None:
    site = RecordedSite(hook_name="h", d=4)

    def write(*texts: tuple[str, int]) -> None:
        with Recorder(tmp_path / "rec", RecordedModel(name="m"), site) as writer:
            for text, width in texts:
                writer.add(text, torch.zeros(2, width))

    with pytest.raises(DataError, match=r"'b' has .* Expected"):
        write(("a", 4), ("b", 5))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="no text was recorded"):
        write()
    assert list(tmp_path.iterdir()) == []
    vectors(tmp_path / "rec")
    with pytest.raises(DataError, match="not empty"):
        vectors(tmp_path / "rec")


def test_the_key_follows_the_recording_the_texts_and_the_column(tmp_path: Path) -> None:
    first = recorded(vectors(tmp_path / "a"), texts(3))
    again = recorded(vectors(tmp_path / "b"), texts(3))
    other = record_vectors(tmp_path / "c", texts(3), torch.ones(3, 6), model="an embedder")
    assert first.key == again.key
    keys = [
        first.key,
        recorded(tmp_path / "a", texts(4)).key,
        recorded(tmp_path / "a", texts(3)[::-1]).key,
        recorded(other, texts(3)).key,
    ]
    assert len({json.dumps(key) for key in keys}) == len(keys)


# Damage, with hashes that fit again: what only the content can tell.

Tensors = dict[str, torch.Tensor]
DAMAGE: dict[str, tuple[Callable[[Tensors], object], str]] = {
    "no x": (lambda t: t.pop("x"), "it has the tensors"),
    "another tensor": (lambda t: t.update(z=t["x"] + 1), "it has the tensors"),
    "another width": (lambda t: t.update(x=t["x"][:, 1:]), "x is torch.float32 of the shape"),
    "another type": (lambda t: t.update(x=t["x"].double()), "x is torch.float64"),
    "counts for valid": (lambda t: t.update(valid=t["valid"].long()), "valid is torch.int64"),
    "floats for texts": (lambda t: t.update(text=t["text"].float()), "text is torch.float32"),
    "a text too many": (lambda t: t["text"].__setitem__(-1, 99), "its tokens are of texts 0 to 99"),
    "a negative text": (lambda t: t["text"].__setitem__(0, -1), "its tokens are of texts -1"),
    "a text apart": (lambda t: t["text"].__setitem__(-1, 0), "text 0 stand apart"),
    "a text without tokens": (
        lambda t: (t["text"].__setitem__(-1, 10), t["position"].__setitem__(-1, 1)),
        "1 texts have no tokens",
    ),
    "positions that fall": (lambda t: t["position"].__setitem__(0, -5), "positions of text 0"),
    "nothing valid": (lambda t: t["valid"].__setitem__(3, False), "text 3 has no valid token"),
    "not a number": (lambda t: t["x"].__setitem__((2, 1), float("nan")), "1 rows of x hold NaN"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_shard_that_is_whole_but_wrong_is_refused(tmp_path: Path, name: str) -> None:
    directory = vectors(tmp_path / "rec")
    damage, says = DAMAGE[name]
    tensors = load_file(directory / "00000.safetensors")
    damage(tensors)
    save_file({key: each.contiguous() for key, each in tensors.items()}, shard(directory))
    rehash(directory)
    with pytest.raises(DataError, match=says):
        Recording.open(directory)


def test_pieces_are_one_for_each_valid_token(tmp_path: Path) -> None:
    directory = vectors(tmp_path / "rec")
    lines = [{"text": text, "pieces": ["a", "b"]} for text in texts(12)]
    (directory / "texts.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    rehash(directory)
    with pytest.raises(DataError, match="text 0 has 2 pieces for 1 valid tokens"):
        Recording.open(directory)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"version": 1', '"version": 2', "version"),
        ('"dtype": "float32"', '"dtype": "int8"', "dtype"),
        ("00000.safetensors", "../../x.safetensors", r"shards.0.file"),
        ('"d": 6', '"d": 6.5', r"site.d"),
        ('"d": 6', '"d": 6, "colour": 3', r"colour"),
        ('"context": null', '"context": "128"', "context"),
    ],
)
def test_a_list_of_files_of_another_form_is_refused(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    about = vectors(tmp_path / "rec") / "activations.json"
    assert old in about.read_text()
    about.write_text(about.read_text().replace(old, new))
    with pytest.raises(DataError, match=rf"activations.json: .*{says}"):
        Recording.open(tmp_path / "rec")


def shard(directory: Path) -> Path:
    return directory / "00000.safetensors"


def rehash(directory: Path) -> None:
    """Let activations.json name the files as they are now."""
    about = json.loads((directory / "activations.json").read_text())
    content = shard(directory).read_bytes()
    listed = about["shards"][0]
    listed["sha256"], listed["bytes"] = hashlib.sha256(content).hexdigest(), len(content)
    text = (directory / "texts.jsonl").read_bytes()
    about["texts"]["sha256"] = hashlib.sha256(text).hexdigest()
    (directory / "activations.json").write_text(json.dumps(about))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vectors(tmp_path_factory.mktemp("sound") / "rec")


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(sound, tmp_path / "copy")
    return tmp_path / "copy"


def changed(content: bytes, kind: str, place: int, more: bytes) -> bytes:
    place %= len(content)
    return {
        "cut": content[:place],
        "put in": content[:place] + more + content[place:],
        "overwritten": content[:place] + more + content[place + len(more) :],
        "replaced": more,
    }[kind]


@pytest.mark.parametrize("hashes", ["as recorded", "made to fit"])
@given(
    name=st.sampled_from(["activations.json", "texts.jsonl", "00000.safetensors"]),
    kind=st.sampled_from(["cut", "put in", "overwritten", "replaced"]),
    place=st.integers(0, 10**6),
    more=st.one_of(
        st.binary(min_size=1, max_size=12),
        st.sampled_from([b'{"a":' * 9999, b"[" * 9999, b"null", b"-1", b"1e999", b'"\\ud800"']),
    ),
)
@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_is_damaged_is_a_data_error_and_nothing_else(
    copy: Path, sound: Path, hashes: str, name: str, kind: str, place: int, more: bytes
) -> None:
    content = (sound / name).read_bytes()
    for path in sound.iterdir():
        shutil.copy(path, copy)
    damaged = changed(content, kind, place, more)
    (copy / name).write_bytes(damaged)
    if hashes == "made to fit" and name != "activations.json":
        rehash(copy)
    says = refusal(copy)
    assert not says or str(copy) in says
    assert says or hashes == "made to fit" or damaged == content or name == "activations.json"


def refusal(directory: Path) -> str:
    """What a DataError says on the way from opening to the last batch, empty without one."""
    try:
        opened = Recording.open(directory)
        list(opened.stream(opened.texts, Store(None)))
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["activations.json", "texts.jsonl", "00000.safetensors"])
@pytest.mark.parametrize("how", ["missing", "a directory"])
def test_a_file_that_cannot_be_read_is_named(copy: Path, name: str, how: str) -> None:
    (copy / name).unlink()
    if how == "a directory":
        (copy / name).mkdir()
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        Recording.open(copy)


def test_a_shard_that_changes_during_a_run_is_refused(copy: Path) -> None:
    stream = recorded(copy, texts(12))
    tensors = load_file(shard(copy))
    save_file({**tensors, "x": tensors["x"][:, 1:].contiguous()}, shard(copy))
    with pytest.raises(DataError, match="of the shape"):
        list(stream)
