"""Evidence against loops over every token, one text at a time; draws depend on nothing else."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.activations.contexts import Context, LatentEvidence
from pytest_sae.activations.evidence import EvidenceSizes, collect, densities
from pytest_sae.activations.pieces import pieces
from pytest_sae.activations.store import Store
from pytest_sae.activations.stream import ActivationBatch, TokenActivations
from pytest_sae.activations.windows import cut, first_token
from pytest_sae.activations.work import Work
from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.tokenize import Batch, tokenize
from tests.activations.witness import TinyDictionary, texts

SIZES = EvidenceSizes(width=5, top=3, samples=2, scored=3, random=2, hard=2, pool=6)
LATENTS = 12
KINDS = ("top", "samples", "scored", "random", "hard")


@dataclass
class Identity:
    """What it reads is the code: activations are planted as latents."""

    d_sae: int = LATENTS
    fingerprint: str = "identity"
    info: DictionaryInfo = field(
        default_factory=lambda: DictionaryInfo("identity", "identity", None, None, None)
    )
    device = torch.device("cpu")
    dtype = torch.float32

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Planted(TokenActivations):
    """Codes that are small integers, a function of the token and its place: sums are exact."""

    def __iter__(self) -> Iterator[ActivationBatch]:
        for batch in self.batches:
            yield ActivationBatch(batch, planted(batch.ids))


def planted(ids: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    table = torch.randint(-3, 9, (64, LATENTS), generator=generator)
    table *= torch.rand(64, LATENTS, generator=generator) < 0.15
    table[:, -1] = 0  # the last latent never fires
    place = 1 + torch.arange(ids.shape[1]) % 4
    return (table[ids] * place[:, None]).float()


def corpus(model: LanguageModel, documents: list[str], tokens_per_batch: int = 60) -> Planted:
    site = model.site("blocks.1.hook_resid_post")
    return Planted(model, site, documents, 24, True, Store(None), tokens_per_batch)


def gathered(
    stream: TokenActivations, sizes: EvidenceSizes = SIZES, seed: int = 0
) -> list[LatentEvidence]:
    return collect(stream, Identity(), np.arange(LATENTS), sizes, seed)  # type: ignore[arg-type]


# The slow algorithm: every token by itself, unpadded, plain Python integers for the hashes.


def mixed(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return x ^ (x >> 31)


@dataclass
class Window:
    document: int
    number: int
    explaining: bool
    priority: int
    z: np.ndarray
    pieces: tuple[str, ...]

    def peak(self, latent: int) -> float:
        return float(np.abs(self.z[:, latent]).max())

    def draw(self, latent: int) -> int:
        return mixed(self.priority ^ mixed(latent + 1))

    def context(self, latent: int) -> Context:
        return Context(self.document, self.pieces, tuple(self.z[:, latent].tolist()))


def slow_windows(
    documents: list[str], codes: list[np.ndarray], words: list[list[str]], width: int, seed: int
) -> list[Window]:
    found = []
    for index, (text, z, parts) in enumerate(zip(documents, codes, words, strict=True)):
        digest = hashlib.sha256(json.dumps([seed, text]).encode()).digest()
        own, count = int.from_bytes(digest[:8], "big"), -(-len(z) // width)
        for number in range(count):
            tokens = [t for t in range(len(z)) if t * count // len(z) == number]
            found.append(
                Window(
                    index,
                    number,
                    digest[8] % 2 == 0,
                    mixed(own ^ mixed(number + 1)),
                    z[tokens],
                    tuple(parts[t] for t in tokens),
                )
            )
    return found


def slow_spread(windows: list[Window], latent: int, count: int) -> list[Window]:
    chosen = sorted(windows, key=lambda w: (-w.peak(latent), w.draw(latent)))
    size, extra = divmod(len(chosen), count)
    found, start = [], 0
    for group in range(count):
        end = start + size + (group < extra)
        if end > start:
            found.append(min(chosen[start:end], key=lambda w: w.draw(latent)))
        start = end
    return found


def slow_evidence(windows: list[Window], latent: int, sizes: EvidenceSizes) -> LatentEvidence:
    firing = [w for w in windows if w.peak(latent) > 0]
    by_draw = sorted(firing, key=lambda w: w.draw(latent))
    explaining = [w for w in by_draw if w.explaining][: 8 * sizes.samples + sizes.top]
    scoring = [w for w in by_draw if not w.explaining][: 8 * sizes.scored]
    strongest = [w for w in firing if w.explaining]
    top = sorted(strongest, key=lambda w: (-w.peak(latent), w.draw(latent)))[: sizes.top]
    rest = [w for w in explaining if all(w is not other for other in top)]
    pool = sorted((w for w in windows if not w.explaining), key=lambda w: w.priority)
    silent = [w for w in pool[: sizes.pool] if w.peak(latent) == 0] if firing else []
    random = sorted(silent, key=lambda w: w.draw(latent))[: sizes.random]
    others = [w for w in silent if all(w is not other for other in random)]
    profile = sum((np.abs(w.z).max(0).astype(float) for w in firing), np.zeros(1))
    hard = sorted(others, key=lambda w: -cosine(np.abs(w.z).max(0).astype(float), profile))[
        : sizes.hard
    ]
    tokens = sum(len(w.z) for w in windows)
    return LatentEvidence(
        latent,
        sum(int((w.z[:, latent] != 0).sum()) for w in windows) / tokens,
        *(
            tuple(w.context(latent) for w in kind)
            for kind in (
                top,
                slow_spread(rest, latent, sizes.samples),
                slow_spread(scoring, latent, sizes.scored),
                random,
                hard,
            )
        ),
    )


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return round(float(a @ b) / norms, 9) if norms else 0.0


def words_of(text: str, context: int) -> list[str]:
    """Each token's own text in the tiny tokenizer: words, white space behind them included."""
    parts = [word + " " for word in text.split(" ")]
    parts[-1] = parts[-1][:-1]
    return [part for part in parts[: context - 1] if not part.startswith("<eos>")]


def valid_ids(text: str, model: LanguageModel, context: int) -> tuple[torch.Tensor, list[int]]:
    ids = tokenize([text], model.tokenizer, context, True).ids[0]
    return torch.tensor([ids]), [place for place, token in enumerate(ids) if token > 2]


def compare(found: list[LatentEvidence], expected: list[LatentEvidence]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.density == pytest.approx(other.density, rel=1e-12)
        for kind in KINDS:
            ours, theirs = getattr(one, kind), getattr(other, kind)
            assert [(c.document, c.pieces) for c in ours] == [
                (c.document, c.pieces) for c in theirs
            ], (one.latent, kind)
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(a.activations, b.activations, rtol=1e-3, atol=1e-4)


@settings(deadline=None, max_examples=15)
@given(
    count=st.integers(1, 40),
    texts_seed=st.integers(0, 50),
    seed=st.integers(0, 9),
    width=st.integers(1, 9),
)
def test_planted_codes_give_what_a_loop_over_tokens_gives(
    model: LanguageModel, count: int, texts_seed: int, seed: int, width: int
) -> None:
    documents, sizes = texts(count, texts_seed), replace(SIZES, width=width)
    codes = []
    for text in documents:
        ids, valid = valid_ids(text, model, 24)
        codes.append(planted(ids)[0][valid].numpy())
    words = [words_of(text, 24) for text in documents]
    windows = slow_windows(documents, codes, words, width, seed)
    expected = [slow_evidence(windows, latent, sizes) for latent in range(LATENTS)]
    compare(gathered(corpus(model, documents), sizes, seed), expected)


def test_a_model_gives_what_one_unpadded_text_at_a_time_gives(model: LanguageModel) -> None:
    documents, dictionary = texts(60, 3), TinyDictionary()
    site = model.site("blocks.1.hook_resid_post")
    stream = TokenActivations(model, site, documents, 24, True, Store(None), 100)
    codes = []
    for text in documents:
        ids, valid = valid_ids(text, model, 24)
        ones = torch.ones_like(ids, dtype=torch.bool)
        x = model.capture(Batch(ids, ones, ones, torch.tensor([0])), [site])[site][0][valid]
        codes.append(np.concatenate([dictionary.encode(token[None]).numpy() for token in x]))
    words = [words_of(text, 24) for text in documents]
    windows = slow_windows(documents, codes, words, SIZES.width, 0)
    latents = np.array([95, 3, 40, 41, 7])
    found = collect(stream, dictionary, latents, SIZES, 0)
    assert [each.latent for each in found] == latents.tolist()
    compare(found, [slow_evidence(windows, int(latent), SIZES) for latent in latents])


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 99), st.integers(30, 400), st.randoms(use_true_random=False))
def test_neither_batches_nor_the_order_of_texts_nor_other_latents_change_a_draw(
    model: LanguageModel, seed: int, tokens_per_batch: int, random
) -> None:
    documents = texts(40, seed)
    order = list(range(40))
    random.shuffle(order)
    chosen = random.sample(range(LATENTS), 4)
    shuffled = corpus(model, [documents[index] for index in order], tokens_per_batch)
    part = collect(shuffled, Identity(), np.array(chosen), SIZES, seed)  # type: ignore[arg-type]
    whole = gathered(corpus(model, documents), seed=seed)
    for evidence in part:
        same = whole[evidence.latent]
        for kind in KINDS:
            moved = [replace(c, document=order[c.document]) for c in getattr(evidence, kind)]
            assert tuple(moved) == getattr(same, kind)
        assert evidence.density == same.density


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 99), st.integers(0, 9))
def test_explaining_and_scoring_share_no_document_and_no_window_serves_twice(
    model: LanguageModel, texts_seed: int, seed: int
) -> None:
    for evidence in gathered(corpus(model, texts(40, texts_seed)), seed=seed):
        explaining = {c.document for c in (*evidence.top, *evidence.samples)}
        scoring = {c.document for c in (*evidence.scored, *evidence.random, *evidence.hard)}
        assert not explaining & scoring
        for kinds in (
            (*evidence.top, *evidence.samples),
            evidence.scored,
            (*evidence.random, *evidence.hard),
        ):
            assert len({(c.document, c.pieces) for c in kinds}) == len(kinds)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 99))
def test_top_is_really_the_top_and_negatives_are_silent(
    model: LanguageModel, texts_seed: int
) -> None:
    stream = corpus(model, texts(40, texts_seed))
    everything = gathered(stream, EvidenceSizes(5, 10**4, 0, 10**4, 10**4, 0, 10**4))
    for some, every in zip(gathered(stream), everything, strict=True):
        assert [c.peak for c in some.top] == sorted((c.peak for c in every.top), reverse=True)[:3]
        assert all(c.peak > 0 for c in (*some.top, *some.samples, *some.scored))
        assert all(c.peak == 0 for c in (*some.random, *some.hard))
        assert all(len(c.pieces) == len(c.activations) <= 5 for c in some.top + some.random)
        silent = {(c.document, c.pieces) for c in every.random}
        assert {(c.document, c.pieces) for c in (*some.random, *some.hard)} <= silent
        assert {(c.document, c.pieces) for c in some.scored} <= {
            (c.document, c.pieces) for c in every.scored
        }


def test_a_latent_that_never_fires_has_no_contexts(model: LanguageModel) -> None:
    dead = gathered(corpus(model, texts(40)))[-1]
    assert dead == LatentEvidence(LATENTS - 1, 0.0, (), (), (), (), ())


@pytest.mark.parametrize("asked", [[], [LATENTS - 1]])
def test_there_may_be_nothing_to_show(model: LanguageModel, asked: list[int]) -> None:
    stream = corpus(model, texts(5))
    found = collect(stream, Identity(), np.array(asked, int), SIZES, 0)  # type: ignore[arg-type]
    assert [each.latent for each in found] == asked
    assert not any(each.top or each.random for each in found)


def test_samples_reach_from_strong_to_weak_contexts(model: LanguageModel) -> None:
    sizes = EvidenceSizes(width=5, top=0, samples=0, scored=4, random=0, hard=0)
    every = gathered(corpus(model, texts(120)), replace(sizes, scored=10**4))
    for some, all_of_it in zip(gathered(corpus(model, texts(120)), sizes), every, strict=True):
        peaks = np.sort([c.peak for c in all_of_it.scored])[::-1]
        if 4 <= len(peaks) <= 32:  # the reservoir holds all of them: quarters are exact
            quarters = np.array_split(peaks, 4)
            for context, quarter in zip(some.scored, quarters, strict=True):
                assert quarter.min() <= context.peak <= quarter.max()


def test_hard_contexts_share_more_firing_latents_than_random_ones(model: LanguageModel) -> None:
    """Planted: latents 0 and 1 fire in the same texts, but in some of those 0 is left out."""
    documents = [f"w1 w2 w{3 + i % 7}" for i in range(7)]
    documents = [f"{text} w{10 + i // 7} w{20 + i}" for i, text in enumerate(documents * 4)]

    class Paired(Planted):
        def __iter__(self) -> Iterator[ActivationBatch]:
            for batch in self.batches:
                x = torch.zeros(*batch.ids.shape, LATENTS)
                for place, row in enumerate(batch.rows.tolist()):
                    x[place, 1, 0] = float(row % 3 == 0)
                    x[place, 2, 1] = float(row % 3 < 2)
                    x[place, 3, 2] = float(row % 3 == 2)
                yield ActivationBatch(batch, x)

    site = model.site("blocks.1.hook_resid_post")
    stream = Paired(model, site, documents, 24, True, Store(None), 60)
    sizes = EvidenceSizes(5, 2, 2, 2, 2, 3, 100)
    evidence = gathered(stream, sizes)[0]
    assert len(evidence.hard) == 3
    assert all(context.document % 3 == 1 for context in evidence.hard)


@given(lengths=st.lists(st.integers(0, 100), min_size=1, max_size=9), width=st.integers(1, 40))
def test_windows_divide_each_document_evenly_and_cover_it(lengths: list[int], width: int) -> None:
    windows = cut(np.arange(len(lengths)) + 7, np.array(lengths), width)
    start = 0
    for document, length in enumerate(lengths):
        own = windows.of_token[start : start + length]
        start += length
        assert (windows.document[own] == document + 7).all()
        sizes = np.unique(own, return_counts=True)[1]
        assert len(sizes) == (windows.document == document + 7).sum() == -(-length // width)
        assert length == 0 or (sizes.max() <= width and sizes.max() - sizes.min() <= 1)
        number = np.arange(len(sizes) + 1)
        if length:
            bounds = first_token(number, np.array(length), width)
            assert np.array_equal(np.diff(bounds), sizes)
            assert (bounds[0], bounds[-1]) == (0, length)
    for window in np.unique(windows.of_token):
        position = windows.position[windows.of_token == window]
        assert position.tolist() == list(range(len(position)))


def test_every_token_is_encoded_once_in_one_pass(model: LanguageModel) -> None:
    site, dictionary, work = model.site("blocks.1.hook_resid_post"), TinyDictionary(), Work()
    stream = TokenActivations(model, site, texts(40), 24, True, Store(None), 100)
    collect(stream, dictionary, np.arange(96), SIZES, 0, work)
    valid = sum(int(part.batch.valid.sum()) for part in stream)
    assert dictionary.encoded_tokens == work.encoded_tokens == valid
    assert stream.store.work.model_passes == len(stream.batches)


def test_densities_count_the_valid_tokens_that_are_not_zero(model: LanguageModel) -> None:
    stream, dictionary = corpus(model, texts(40)), Identity()
    values = torch.cat([part.x_valid for part in stream])
    found = densities(stream, dictionary)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, (values != 0).double().mean(0).numpy(), rtol=1e-12)
    by_evidence = [each.density for each in gathered(stream)]
    np.testing.assert_allclose(found, by_evidence, rtol=1e-12)


class Endless:
    """As many batches of one long text each as are asked for, made when they are asked for."""

    def __init__(self, model: LanguageModel, count: int) -> None:
        self.model, self.context, self.prepend_bos = model, 24, True
        self.texts = [f"w{i % 50} w{i // 50} " + "w1 w2 w3 w4 w5 " * 4 for i in range(count)]

    def __iter__(self) -> Iterator[ActivationBatch]:
        for row, text in enumerate(self.texts):
            ids = valid_ids(text, self.model, 24)[0]
            valid = ids > 2
            generator = torch.Generator().manual_seed(row)
            x = torch.rand(*ids.shape, 256, generator=generator)
            x *= x > 0.9
            yield ActivationBatch(Batch(ids, valid, valid, torch.tensor([row])), x)

    def pieces(self, documents: Sequence[int]) -> list[tuple[str, ...]]:
        texts = [self.texts[document] for document in documents]
        return pieces(texts, self.model.tokenizer, self.context, self.prepend_bos)


def test_memory_does_not_grow_with_the_corpus(model: LanguageModel) -> None:
    sizes = EvidenceSizes(width=8, top=2, samples=1, scored=1, random=1, hard=1, pool=10)

    def peak(count: int) -> int:
        stream, dictionary = Endless(model, count), Identity(256)
        tracemalloc.start()
        try:
            collect(stream, dictionary, np.arange(64), sizes, 0)  # type: ignore[arg-type]
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small, large = peak(40), peak(160)
    assert large < 1.2 * small
    assert small < 400 * 23 * 256 * 4  # what the other documents' codes alone would take
