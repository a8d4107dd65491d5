"""A text set's activations: one model pass, whole, the same cold and warm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pytest_sae.activations import stream
from pytest_sae.activations.store import CacheWarning, Store, digest
from pytest_sae.activations.stream import ActivationBatch, TokenActivations, below, run
from pytest_sae.models.model import LanguageModel
from tests.activations.witness import texts


def make(model: LanguageModel, store: Store, hook: str = "blocks.1.hook_resid_post"):
    return TokenActivations(model, model.site(hook), texts(), 16, True, store, 100)


def equal(one: list[ActivationBatch], other: list[ActivationBatch]) -> bool:
    names = ("ids", "attention", "valid", "rows")
    return len(one) == len(other) and all(
        torch.equal(a.x, b.x)
        and all(torch.equal(getattr(a.batch, n), getattr(b.batch, n)) for n in names)
        for a, b in zip(one, other, strict=True)
    )


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(None if request.param == "memory" else tmp_path)


def test_it_holds_what_the_model_gives_for_each_batch(model: LanguageModel, store: Store) -> None:
    activations = make(model, store)
    parts = list(activations)
    for part, batch in zip(parts, activations.batches, strict=True):
        assert torch.equal(part.batch.ids, batch.ids)
        assert torch.equal(part.x, model.capture(batch, [activations.site])[activations.site])
        for token, text in zip(part.x_valid, part.text_of_token, strict=True):
            assert (part.x[text] == token).all(-1).any()
    assert sorted(torch.cat([part.batch.rows for part in parts]).tolist()) == list(range(23))


def test_the_model_runs_once(model: LanguageModel, store: Store) -> None:
    activations = make(model, store)
    first, again = list(activations), list(make(model, store))
    assert equal(first, again)
    assert store.work.model_passes == len(first)
    assert store.work.model_tokens == sum(int(part.batch.valid.sum()) for part in first)
    assert store.work.seconds["model"] > 0


def test_cold_warm_and_in_memory_are_the_same_to_the_bit(
    model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = list(make(model, Store(None)))
    monkeypatch.setattr(stream, "_SHARD_BYTES", 20_000)
    cold = Store(tmp_path)
    assert equal(list(make(model, cold)), in_memory)
    warm = Store(tmp_path)
    activations = make(model, warm)
    entry = warm.find(activations.key)
    assert entry is not None
    assert 1 < len(entry) < len(in_memory)
    assert equal(list(activations), in_memory)
    assert (warm.work.model_passes, warm.work.cache_hits) == (0, 1)


def test_one_shard_is_in_memory_at_a_time(
    model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_SHARD_BYTES", 1)
    activations = make(model, Store(tmp_path))
    list(activations)
    read: list[int] = []
    for number, _ in enumerate(activations):
        read.append(activations.store.work.bytes_read)
        assert number == 0 or read[-1] > read[-2]


def test_several_sites_cost_one_pass(model: LanguageModel, store: Store) -> None:
    hooks = ("blocks.0.hook_resid_post", "blocks.1.hook_mlp_out", "blocks.2.hook_resid_pre")
    streams = [make(model, store, hook) for hook in hooks]
    list(streams[0])
    before = store.work.model_passes
    run(streams)
    assert store.work.model_passes == 2 * before
    for one in streams:
        assert equal(list(one), list(make(model, Store(None), one.site.hook_name)))
    assert store.work.model_passes == 2 * before


def test_two_names_of_one_site_share_its_activations(model: LanguageModel, store: Store) -> None:
    run([make(model, store), make(model, store, "model.layers.1")])
    assert store.work.cache_misses == 1
    assert equal(list(make(model, store)), list(make(model, store, "layers.1")))


def test_streams_of_other_texts_cannot_share_a_pass(model: LanguageModel, store: Store) -> None:
    one = make(model, store)
    with pytest.raises(ValueError, match="share model, texts and store"):
        run([one, replace(one, texts=texts(4))])


def test_the_key_follows_everything_that_changes_the_result(model: LanguageModel) -> None:
    one = make(model, Store(None))
    others = [
        replace(one, texts=texts()[1:]),
        replace(one, texts=texts()[::-1]),
        replace(one, context=15),
        replace(one, prepend_bos=False),
        replace(one, tokens_per_batch=99),
        replace(one, site=model.site("blocks.1.hook_resid_pre")),
        replace(one, model=replace(model, fingerprint="other")),
        replace(one, model=replace(model, tokenizer_fingerprint="other")),
    ]
    assert len({digest(s.key) for s in [one, *others]}) == 1 + len(others)


def test_an_altered_shard_is_made_again(model: LanguageModel, tmp_path: Path) -> None:
    expected = list(make(model, Store(tmp_path)))
    shard = next(tmp_path.glob("*/00000.safetensors"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 64
    shard.write_bytes(bytes(content))
    with pytest.warns(CacheWarning, match="not what was written"):
        assert equal(list(make(model, Store(tmp_path))), expected)


def test_an_interrupted_pass_leaves_no_half_set(
    model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(2))

    def failing(*args):
        next(calls)
        return LanguageModel.capture(model, *args)

    broken = replace(model)
    monkeypatch.setattr(broken, "capture", failing, raising=False)
    activations = make(broken, Store(tmp_path))
    with pytest.raises((StopIteration, RuntimeError)):
        list(activations)
    assert activations.store.find(activations.key) is None
    assert equal(list(make(model, Store(tmp_path))), list(make(model, Store(None))))


def test_a_splice_inside_a_block_gets_its_stream(model: LanguageModel, store: Store) -> None:
    inside = make(model, store, "blocks.2.hook_mlp_out")
    under = below(inside)
    assert under is not None
    assert under.site.module == "model.layers.2"
    assert below(make(model, store)) is None
