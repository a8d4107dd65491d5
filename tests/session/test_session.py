"""A whole session on a tiny model, against algorithms that share no code with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_sae.dictionaries.spec import SAESpec
from pytest_sae.errors import DataError, DictionaryError, ModelError, SiteError
from pytest_sae.measure import core, scr_and_tpp
from pytest_sae.metrics import class_probes, scr
from pytest_sae.metrics.ablation import AffineRemoval, MeasuredRemoval
from pytest_sae.metrics.protocol import NS
from pytest_sae.models.load import load as load_model
from pytest_sae.models.precision import compare
from pytest_sae.numbers.bootstrap import generator
from pytest_sae.session.session import EvalSession, LoadedSAE
from pytest_sae.synthetic.equivalent import renumbered
from tests.sessions import opened, options, tiny_world
from tests.tiny import tiny_sae


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tiny_world(tmp_path_factory.mktemp("world"), "topk", "jumprelu", "standard")
    tiny_sae(
        directory / "normed",
        arch="topk",
        model=str(directory / "model"),
        normalize_activations="layer_norm",
    )
    return directory


@pytest.mark.parametrize("arch", ["topk", "jumprelu", "standard", "normed"])
def test_scr_reads_what_explicit_ablation_gives(world: Path, arch: str) -> None:
    session, sae = opened(world, arch)
    task, latents = session.tasks.scr[0], session.latents(sae)
    texts = scr_and_tpp.erasure_texts(session.tasks)
    scored = scr_and_tpp._score_scr(latents, texts, task, 0, 2)
    x = latents.pooled(texts).x[latents.places(texts, task.train.texts)]
    quadrants = scr.Quadrants(np.array(task.train.intended), np.array(task.train.spurious))
    probes = scr.fit_probes(task.name, x, quadrants, 0, 2).published
    rows = latents.written_rows(texts).numpy()
    for direction in scr.DIRECTIONS:
        labels = np.array(getattr(task.train, direction))
        reads = rows.astype(float) @ probes.weight[scr.CONCEPTS.index(direction)].astype(float)
        order = explicit_order(sae, task.train.texts, labels, np.abs(reads), signed=False)
        for place, n in enumerate(NS):
            kept = explicit_means(sae, task.test.texts, order[:n])
            expected = kept @ probes.weight[2].astype(float) + probes.bias[2]
            found = scored.published[direction].ablated[place, 0]
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.ptp(expected))


def test_what_ablation_takes_is_a_sum_where_it_can_be_and_decoded_where_not(world: Path) -> None:
    session, sae = opened(world, "normed")
    task, texts = session.tasks.tpp[0], scr_and_tpp.erasure_texts(session.tasks)
    latents, sides = session.latents(sae), (task.train.texts, task.test.texts)
    # The same dictionary, and nothing is known of how it decodes.
    order = torch.arange(sae.dictionary.d_sae)
    opaque = latents.of_twin(renumbered(sae.dictionary, order))
    summed, decoded = (scr_and_tpp.PooledTask.of(each, texts, *sides) for each in (latents, opaque))
    assert isinstance(summed.removal, AffineRemoval)
    assert isinstance(decoded.removal, MeasuredRemoval)
    orders, probes = [np.array([3, 1, 50]), np.array([0, 9])], np.eye(4, sae.dictionary.d_out)
    for name in ("removal", "removal_train"):
        found, expected = (
            getattr(side, name).logits(orders, (1, 2, 3), probes) for side in (summed, decoded)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.ptp(expected))


@pytest.mark.parametrize("arch", ["topk", "jumprelu", "standard", "normed"])
def test_canonical_tpp_is_what_explicit_ablation_gives(world: Path, arch: str) -> None:
    session, sae = opened(world, arch)
    task, latents = session.tasks.tpp[0], session.latents(sae)
    texts = scr_and_tpp.erasure_texts(session.tasks)
    train, test = np.array(task.train.labels), np.array(task.test.labels)
    x = latents.pooled(texts).x[latents.places(texts, task.train.texts)]
    probes = class_probes.fit_probes(task.name, x, train, 3, 0, 2).published
    weight, bias = probes.weight.astype(float), probes.bias.astype(float)
    negatives = class_probes.members(test, 3, generator(0, "tpp", task.name, "test"))

    def accuracies(x: np.ndarray) -> np.ndarray:
        right = (x @ weight.T + bias > 0) == (test[:, None] == np.arange(3))
        return np.array([right[negatives[c], c].mean() for c in range(3)])

    clean, score = accuracies(explicit_means(sae, task.test.texts, np.array([], np.int64))), 0.0
    for c in range(3):
        reads = latents.written_rows(texts).double().numpy() @ weight[c]
        order = explicit_order(sae, task.train.texts, train == c, reads, signed=True)
        lost = clean - accuracies(explicit_means(sae, task.test.texts, order[:20]))
        score += (lost[c] - np.delete(lost, c).mean()) / 3
    measured = {m.key: m.estimate.value for m in session.measure("tpp", sae)}
    assert measured["tpp.canonical:n=20"] == pytest.approx(score, abs=1e-12)


def test_core_agrees_with_one_text_at_a_time(world: Path) -> None:
    session, sae = opened(world, "jumprelu")
    measured = {m.key: m.estimate.value for m in session.measure("core", sae)}
    tokens = [one_text(sae, text).double() for text in session.tasks.corpus.texts]
    x = torch.cat(tokens)
    x_hat = sae.dictionary.reconstruct(x.float()).double()
    total = (x - x.mean(0)).square().sum()
    assert measured["explained_variance"] == pytest.approx(
        float(1 - (x - x_hat).square().sum() / total), rel=1e-5
    )
    active = sae.dictionary.encode(x.float()) != 0
    assert measured["l0"] == pytest.approx(float(active.sum(1).double().mean()), rel=1e-6)
    assert measured["dead_share"] == pytest.approx(float((~active.any(0)).double().mean()))


def test_cross_entropy_agrees_with_a_plain_splice(world: Path) -> None:
    session, sae = opened(world, "topk")
    measured = {m.key: m.estimate.value for m in session.measure("core", sae)}
    losses = []
    for text in session.tasks.corpus.texts:
        ids = torch.tensor([sae.model.tokenizer(text)["input_ids"]])
        with hooked(
            sae, lambda x: torch.cat([x[:, :1], sae.dictionary.reconstruct(x[0, 1:])[None]], 1)
        ):
            logits = sae.model.hf(ids).logits
        losses.append(
            torch.nn.functional.cross_entropy(logits[0, 1:-1], ids[0, 2:], reduction="none")
        )
    expected = float(torch.cat(losses).double().mean())
    assert measured["ce_spliced"] == pytest.approx(expected, rel=1e-5)


def test_predictions_made_at_special_tokens_are_told_apart(world: Path) -> None:
    """An EOS within a text keeps its activation, and reads what was spliced in before it."""
    texts = ["w1 w2 w3 <eos> w4 w5", "w6 <eos> w7", "w8 w9"]
    session, sae = opened(world, "topk")
    _, behaved = core.gather(session.latents(sae), texts)
    assert behaved is not None
    special = {0, 1, 2}  # the ids of <pad>, <bos> and <eos>
    expected = {"special": np.zeros(3), "first": np.zeros(3), "ordinary": np.zeros(3)}
    for text in texts:
        ids = sae.model.tokenizer(text)["input_ids"]
        valid = torch.tensor([each not in special for each in ids])
        with hooked(sae, partial(spliced_at, sae, valid)):
            spliced = sae.model.hf(torch.tensor([ids])).logits[0].log_softmax(-1)
        clean = sae.model.hf(torch.tensor([ids])).logits[0].log_softmax(-1)
        for place in range(len(ids) - 1):
            if not valid[place + 1]:
                continue
            group = "ordinary" if valid[place] else "special"
            group = "first" if place == valid.int().argmax() else group
            kl = (clean[place].exp() * (clean[place] - spliced[place])).sum()
            loss = -spliced[place, ids[place + 1]]
            expected[group] += [1, float(loss), float(kl)]
    assert expected["special"][0] == 5  # three BOS, two EOS
    for group, sums in behaved.groups.items():
        found = [getattr(sums, name).sum() for name in ("tokens", "spliced", "kl")]
        np.testing.assert_allclose(found, expected[group], rtol=1e-4)
    assert expected["special"][2] > 0.01
    assert behaved.tokens.sum() == expected["first"][0] + expected["ordinary"][0]


def test_the_values_are_the_same_to_the_bit_with_a_cold_and_a_warm_cache(
    world: Path, tmp_path: Path
) -> None:
    runs = []
    for cache in (None, str(tmp_path), str(tmp_path)):
        session, sae = opened(world, "topk", cache=cache)
        runs.append([m.estimate for f in ("core", "scr", "tpp") for m in session.measure(f, sae)])
    assert runs[0] == runs[1] == runs[2]
    assert session.store.work.model_passes == 0


def test_the_order_of_families_changes_no_bit(world: Path) -> None:
    first, sae = opened(world, "topk")
    forward = {m.key: m.estimate for f in ("core", "scr", "tpp") for m in first.measure(f, sae)}
    second, sae = opened(world, "topk")
    backward = {m.key: m.estimate for f in ("tpp", "scr", "core") for m in second.measure(f, sae)}
    assert forward == backward


def test_each_text_is_run_once_and_encoded_once(world: Path) -> None:
    session, sae = opened(world, "topk")
    for family in ("core", "scr", "tpp"):
        session.measure(family, sae)
    texts = [*scr_and_tpp.erasure_texts(session.tasks), *session.tasks.corpus.texts]
    tokens = sum(len(sae.model.tokenizer(text)["input_ids"]) - 1 for text in texts)
    assert session.store.work.model_tokens == tokens
    assert session.store.work.encoded_tokens == tokens


def test_bad_data_is_refused_before_a_dictionary_or_a_model_is_read(world: Path) -> None:
    empty = world / "empty.toml"
    empty.write_text("version = 1\n")
    session = EvalSession(options(world, data=str(empty)))
    spec = SAESpec("nowhere", str(world / "nowhere"), "nowhere")
    with pytest.raises(DataError):
        session.load(spec)


def test_an_sae_of_another_width_is_refused_with_both_widths(world: Path) -> None:
    tiny_sae(world / "wide", d_in=48, model=str(world / "model"))
    with pytest.raises(ModelError, match=r"d_in 48.*32 wide.*--sae-model"):
        opened(world, "wide")


def test_an_sae_without_a_model_is_refused_unless_one_is_given(world: Path) -> None:
    tiny_sae(world / "orphan", model=None)
    with pytest.raises(DictionaryError, match="model_name"):
        opened(world, "orphan")
    _, sae = opened(world, "orphan", model=str(world / "model"))
    assert sae.model.name == str(world / "model")


def test_an_unknown_site_is_refused_with_those_there_are(world: Path) -> None:
    tiny_sae(world / "high", model=str(world / "model"), hook="blocks.7.hook_resid_post")
    with pytest.raises(SiteError, match="has 3 blocks"):
        opened(world, "high")


def test_an_sae_that_is_far_from_its_declared_sparsity_is_refused(world: Path) -> None:
    directory = tiny_sae(world / "dense", arch="batchtopk", model=str(world / "model"))
    weights = load_file(directory / "sae_weights.safetensors")
    save_file(
        {**weights, "threshold": torch.zeros_like(weights["threshold"])},
        directory / "sae_weights.safetensors",
    )
    session, sae = opened(world, "dense")
    with pytest.raises(DictionaryError, match=r"declares k=6, but \d+\.\d latents are active"):
        session.measure("core", sae)


def test_half_precision_tells_how_far_it_is_from_float32(world: Path) -> None:
    session, sae = opened(world, "topk", dtype="bfloat16")
    full = load_model(sae.model.name, "cpu", torch.float32)
    _, exact = opened(world, "topk")
    encoders = (sae.dictionary.encode, exact.dictionary.encode)
    texts = session.tasks.corpus.texts[:8]
    expected = compare(sae.model, full, sae.site, texts, encoders)
    (told,) = session.describe()["precision"].values()
    assert told == dataclasses.asdict(expected)
    assert 0 < told["relative"] < 0.1


def test_the_model_may_be_in_half_precision_and_the_sae_not(world: Path) -> None:
    session, sae = opened(world, "topk", model_dtype="bfloat16")
    assert sae.model.dtype == torch.bfloat16
    assert sae.dictionary.dtype == torch.float32
    full = load_model(sae.model.name, "cpu", torch.float32)
    texts = session.tasks.corpus.texts[:8]
    encoders = (sae.dictionary.encode, sae.dictionary.encode)
    (told,) = session.describe()["precision"].values()
    assert told == dataclasses.asdict(compare(sae.model, full, sae.site, texts, encoders))


def test_the_model_may_be_exact_and_the_sae_not(world: Path) -> None:
    session, sae = opened(world, "topk", model_dtype="float32", dtype="bfloat16")
    assert sae.model.dtype == torch.float32
    assert sae.dictionary.dtype == torch.bfloat16
    (told,) = session.describe()["precision"].values()
    assert told["relative"] == 0
    assert told["latent"] > 0


def test_single_precision_is_compared_with_nothing(world: Path) -> None:
    session, _ = opened(world, "topk")
    assert "precision" not in session.describe()


def spliced_at(sae: LoadedSAE, valid: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """One text's activations (1, pos, d) with reconstructions at its valid tokens."""
    return torch.where(valid[:, None], sae.dictionary.reconstruct(x[0]), x[0])[None]


@contextmanager
def hooked(sae: LoadedSAE, replace: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Replace the output of the SAE's block by a plain hook."""

    def hook(module: object, inputs: object, output: object) -> object:
        if isinstance(output, tuple):
            return (replace(output[0]), *output[1:])
        return replace(output)

    handle = sae.model.hf.model.layers[1].register_forward_hook(hook)
    try:
        with torch.no_grad():
            yield
    finally:
        handle.remove()


def one_text(sae: LoadedSAE, text: str) -> torch.Tensor:
    """(token, d): one unpadded pass, BOS left out."""
    seen: list[torch.Tensor] = []

    def see(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return x

    with hooked(sae, see):
        sae.model.hf(torch.tensor([sae.model.tokenizer(text)["input_ids"]]))
    return seen[0][0, 1:]


def explicit_means(sae: LoadedSAE, texts: tuple[str, ...], latents: np.ndarray) -> np.ndarray:
    """Decode each token with all latents and without some, then average over the text."""
    everything = np.arange(sae.dictionary.d_sae)
    kept = torch.from_numpy(np.setdiff1d(everything, latents))
    means = []
    for text in texts:
        x = one_text(sae, text)
        z = sae.dictionary.encode(x)
        full = sae.dictionary.contribution(x, z, torch.from_numpy(everything))
        without = sae.dictionary.contribution(x, z, kept)
        means.append((x - full + without).double().mean(0).numpy())
    return np.array(means)


def explicit_order(
    sae: LoadedSAE, texts: tuple[str, ...], positive: np.ndarray, reads: np.ndarray, signed: bool
) -> np.ndarray:
    """Latents by difference of class means times what the probe reads, one text at a time."""
    z = np.array([sae.dictionary.encode(one_text(sae, t)).double().mean(0).numpy() for t in texts])
    difference = z[positive].mean(0) - z[~positive].mean(0)
    effects = (np.maximum(difference, 0) if signed else np.abs(difference)) * reads
    order = np.argsort(-effects, kind="stable")
    return order[effects[order] > 0]
