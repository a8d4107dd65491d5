"""Controls measured in a session: from the activations that are there, as the SAE itself is."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pytest_sae.dictionaries.controls import (
    best_k,
    permuted_decoder,
    random_matched,
    random_tied,
    redrawn_decoder,
)
from pytest_sae.dictionaries.references import pca
from pytest_sae.errors import DictionaryError, MeasurementError
from pytest_sae.families.registry import card_of, expected_of
from pytest_sae.gate.controls import holds
from pytest_sae.measure import control_dictionaries as making
from pytest_sae.measure import scr_and_tpp, shift, word_deletion
from pytest_sae.measure.given import Given
from pytest_sae.measure.given import measured as measured_of
from pytest_sae.metrics.scr import fit_probes
from pytest_sae.numbers.control import CONTROLS, Control
from pytest_sae.numbers.estimate import Estimate, undefined
from pytest_sae.records.measurement import Measurement
from pytest_sae.session.controls import chosen, drawn_apart, over_draws
from pytest_sae.session.session import EvalSession, LoadedSAE
from tests.dictionaries.formats.sae_lens_files import write
from tests.labelled import labelled_data
from tests.measure.test_shift import everything
from tests.measure.test_transcoders import edited, own_words
from tests.sessions import opened, tiny_world
from tests.tiny import tiny_sae

MEASURED = ("core", "scr", "tpp")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tiny_world(tmp_path_factory.mktemp("world"), "topk", "standard")
    model = directory / "model"
    own_words(model, directory / "data" / "corpus.jsonl")
    tiny_sae(directory / "normed", model=str(model), normalize_activations="layer_norm")
    write(directory / "transcoder", "transcoder", 32, 96, d_out=32)
    edited(
        directory / "transcoder",
        model_name=str(model),
        hook_name="blocks.1.mlp.hook_in",
        hook_name_out="blocks.1.hook_mlp_out",
    )
    return directory


Found = dict[str, Measurement]


def measured(world: Path, name: str, controls: str, families: Sequence[str] = MEASURED) -> Found:
    session, sae = opened(world, name, controls=controls)
    return {each.key: each for family in families for each in session.measure(family, sae)}


def beside(measurement: Measurement) -> Mapping[str, Control]:
    return {each.control: each for each in measurement.controls}


@pytest.fixture(scope="module")
def found(world: Path) -> Found:
    """Everything that a TopK SAE and its controls reach."""
    return measured(world, "topk", "all")


def test_each_metric_has_the_controls_that_the_table_declares(found: Found) -> None:
    families = {"scr": "scr", "tpp": "tpp"}
    for measurement in found.values():
        if measurement.estimate.status != "ok":
            continue
        metric, params = measurement.estimate.metric, measurement.estimate.params
        family = card_of(families.get(metric.split(".")[0], "core"))
        declared = {name for name in chosen("all", family) if expected_of(metric, name)}
        if metric == "scr.canonical" or params.get("direction") == "intended":
            declared -= {"word_deletion"}  # it deletes the spurious concept's words
        assert set(beside(measurement)) == declared, metric
        assert [each.control for each in measurement.controls] == [
            name for name in CONTROLS if name in declared
        ]


def test_controls_need_no_further_pass_of_the_model(world: Path) -> None:
    passes = {}
    for which in ("off", "cheap"):
        session, sae = opened(world, "topk", controls=which)
        for family in MEASURED:
            session.measure(family, sae)
        work = session.store.work
        passes[which] = work.model_passes, work.model_tokens
    assert passes["off"] == passes["cheap"]
    assert passes["off"][0] > 0


def test_permuted_rows_and_shuffled_labels_encode_no_text_again(world: Path) -> None:
    encoded = {}
    for which in ("off", "permuted_decoder,shuffled_labels", "random"):
        session, sae = opened(world, "topk", controls=which)
        for family in ("scr", "tpp"):
            session.measure(family, sae)
        encoded[which] = session.store.work.encoded_tokens
    assert encoded["permuted_decoder,shuffled_labels"] == encoded["off"]
    assert encoded["random"] == 2 * encoded["off"]  # once, for both families


def test_the_sae_s_own_figures_are_the_same_to_the_bit(world: Path, found: Found) -> None:
    alone = measured(world, "topk", "off")
    assert alone.keys() == found.keys()
    for key, measurement in alone.items():
        assert measurement.controls == ()
        assert measurement.estimate == found[key].estimate
        assert measurement.fingerprints == found[key].fingerprints


def test_controls_do_not_depend_on_what_was_measured_before(world: Path, found: Found) -> None:
    backwards = measured(world, "topk", "cheap", ("tpp", "scr", "core"))
    for key, measurement in backwards.items():
        assert all(each in found[key].controls for each in measurement.controls), key


def test_a_permuted_decoder_leaves_figures_of_the_latents_as_they_are(found: Found) -> None:
    for metric in ("l0", "l1", "dead_share", "dense_share_1pct", "dense_share_10pct"):
        own, control = found[metric].estimate, beside(found[metric])["permuted_decoder"]
        assert control.expected == "same"
        assert (control.value, control.se) == (own.value, own.se)
        assert holds(own.value, own.se, control) is True


def test_a_random_control_has_the_sae_s_l0(found: Found) -> None:
    control = beside(found["l0"])["random"]
    assert control.value == pytest.approx(found["l0"].estimate.value, rel=0.02)


def test_the_identity_reaches_the_upper_end_of_everything(found: Found) -> None:
    ends = {"explained_variance": 1, "cosine": 1, "ce_recovered": 1, "mse": 0, "kl": 0}
    for metric, end in ends.items():
        assert beside(found[metric])["identity"].value == pytest.approx(end, abs=1e-6), metric
    clean = found["ce_clean"].estimate.value
    assert beside(found["ce_spliced"])["identity"].value == pytest.approx(clean, rel=1e-6)


def test_controls_are_measured_as_dictionaries_of_their_own_are(world: Path, found: Found) -> None:
    session, sae = opened(world, "topk", controls="off")
    texts = {"core": session.tasks.corpus.texts, "scr": scr_and_tpp.erasure_texts(session.tasks)}
    for family in ("core", "scr"):
        # Few enough that all of them are taken.
        x = torch.cat([part.x_valid for part in session.latents(sae).tokens(texts[family])])
        z = sae.dictionary.encode(x)
        l0, alive = float((z != 0).sum(1).double().mean()), int(z.any(0).sum())
        drawn = range(1, card_of(family).control_draws)
        random = random_matched(sae.dictionary, x, l0, 0)
        twins = {
            "random": [random, *(redrawn_decoder(random, 1_000_003 * n) for n in drawn)],
            "permuted_decoder": [
                permuted_decoder(sae.dictionary, 1_000_003 * n) for n in (0, *drawn)
            ],
            "random_tied": [random_tied(sae.dictionary, x, l0, 1_000_003 * n) for n in (0, *drawn)],
            "best_k": [best_k(sae.dictionary, x, alive // 8)],
            "pca": [pca(sae.dictionary, x, round(l0))],
        }
        for name in set(twins) & set(chosen("all", card_of(family))):
            others = [
                replace(sae, id=f"{family} {name} {place}", dictionary=twin)
                for place, twin in enumerate(twins[name])
            ]
            card = card_of(family)
            draws = [measured_of(card, session.given(card, other)) for other in others]
            for figures in zip(*draws, strict=True):
                control = beside(found[Measurement(name, figures[0]).key]).get(name)
                if control is None or control.value is None:
                    continue
                values = [each.value for each in figures]
                assert control.value == pytest.approx(np.mean(values), rel=1e-12)
                assert control.fingerprint == twins[name][0].fingerprint
                if len(values) == 1:
                    assert (control.value, control.se) == (values[0], figures[0].se)
                elif control.se is not None:
                    within = np.mean([each.se for each in figures])
                    assert control.se == pytest.approx(np.hypot(within, np.std(values, ddof=1)))
                    assert control.n["draws"] == 5


def test_what_goes_wrong_in_a_control_says_so(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise DictionaryError("no rows today.")

    monkeypatch.setitem(making.MAKERS, "random", making.Recipe(refuse))
    session, sae = opened(world, "topk", controls="cheap")
    with pytest.raises(MeasurementError, match=r"control random: no rows today\. Leave it"):
        session.measure("core", sae)


def estimates(*values: float | None, influence: tuple[float, ...] = (0.1, -0.1)) -> list[Estimate]:
    return [
        Estimate("scr", value, se=0.03, n={"texts": 4}, influence=influence) for value in values
    ]


def test_draws_that_lie_apart_are_less_certain() -> None:
    near, far = over_draws(estimates(0.2, 0.2, 0.2)), over_draws(estimates(0.1, 0.2, 0.3))
    assert (near.value, near.se) == (pytest.approx(0.2), pytest.approx(0.03))
    assert (far.value, far.se) == (pytest.approx(0.2), pytest.approx(np.hypot(0.03, 0.1)))
    assert far.ci == pytest.approx((0.2 - 1.96 * far.se, 0.2 + 1.96 * far.se), abs=1e-4)
    assert (drawn_apart(near), drawn_apart(far)) == (0, pytest.approx(0.1))
    assert far.n == {"texts": 4, "draws": 3}
    assert far.influence == pytest.approx((0.1, -0.1))


def test_the_order_of_draws_changes_nothing() -> None:
    one, other = over_draws(estimates(0.1, 0.25, 0.3)), over_draws(estimates(0.3, 0.1, 0.25))
    assert one == other


def test_a_single_draw_is_itself_and_one_without_a_value_speaks_for_all() -> None:
    (alone,) = estimates(0.4)
    assert over_draws([alone]) is alone
    lost = [undefined("scr", "no gap"), *estimates(0.4)]
    assert over_draws(lost) is lost[0]


def test_a_control_is_paired_with_the_sae_text_by_text(found: Found) -> None:
    measurement = found["explained_variance"]
    for control in measurement.controls:
        assert control.paired is not None
        assert control.paired <= np.hypot(measurement.estimate.se, control.se) * 1.5
    identity = beside(measurement)["identity"]
    # The identity has no error of its own, so that the difference has the SAE's.
    assert identity.paired == pytest.approx(measurement.estimate.se, rel=0.15)


def test_nothing_is_found_on_shuffled_labels(found: Found) -> None:
    told = [
        beside(each)["shuffled_labels"]
        for key, each in found.items()
        if key.startswith(("scr", "tpp")) and each.estimate.status == "ok"
    ]
    assert told
    for control in told:
        assert control.expected == "chance"
        assert control.value is None or abs(control.value) <= 4 * control.se


def test_a_decoder_that_is_not_affine_has_no_permuted_twin(world: Path) -> None:
    found = measured(world, "normed", "all", ["core"])
    controls = beside(found["explained_variance"])
    declined = controls["permuted_decoder"]
    assert (declined.status, declined.value) == ("not_applicable", None)
    assert declined.reason == "its decoder is not affine: it has no fixed rows to permute"
    assert {name for name, each in controls.items() if each.status == "ok"} == {
        "random", "random_tied", "best_k", "pca", "identity",
    }  # fmt: skip


def test_a_transcoder_has_no_twin_that_writes_where_it_reads(world: Path) -> None:
    found = measured(world, "transcoder", "all", ["core", "tpp"])
    controls = beside(found["explained_variance"])
    for name in ("random_tied", "identity"):
        assert controls[name].status == "not_applicable"
        assert "reads one site and writes another" in controls[name].reason
    for name in ("random", "pca", "permuted_decoder", "best_k"):
        assert controls[name].status == "ok"
    assert controls["random"].value < 0 < controls["pca"].value <= 1
    assert beside(found["tpp.canonical:n=20"])["permuted_decoder"].status == "ok"


def test_a_silent_dictionary_has_no_sparsity_to_match(world: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    silent = tiny_sae(tmp_path / "silent", "standard", model=str(world / "model"))
    path = silent / "sae_weights.safetensors"
    weights = load_file(path)
    save_file({**weights, "b_enc": torch.full_like(weights["b_enc"], -1e6)}, path)
    session, sae = opened(world, "topk", controls="random,best_k")
    from pytest_sae.dictionaries.spec import resolve

    sae = session.load(resolve([str(silent)])[0])
    found = {each.key: each for each in session.measure("core", sae)}
    controls = beside(found["explained_variance"])
    assert controls["random"].reason == (
        "no latent of it fires on these texts: there is no sparsity to match"
    )
    assert {each.status for each in controls.values()} == {"undefined"}


def test_only_the_controls_that_were_named_are_measured(world: Path) -> None:
    found = measured(world, "topk", "identity,pca", ["core", "scr"])
    assert set(beside(found["explained_variance"])) == {"pca", "identity"}
    assert found["scr.margin:direction=spurious,n=20"].controls == ()


@pytest.mark.parametrize(
    ("asked", "family", "expected"),
    [
        ("off", "core", []),
        ("cheap", "core", ["random", "permuted_decoder", "best_k", "pca"]),
        ("cheap", "tpp", ["random", "permuted_decoder", "shuffled_labels"]),
        ("cheap", "shift", ["word_deletion"]),
        ("cheap", "autointerp", []),
        ("all", "autointerp", ["random"]),
        ("pca,random", "core", ["random", "pca"]),
        ("pca,random", "tpp", ["random"]),
    ],
)
def test_what_is_asked_for_is_what_is_measured(
    asked: str, family: str, expected: list[str]
) -> None:
    assert chosen(asked, card_of(family)) == expected


@pytest.mark.parametrize(("count", "step"), [(100, 1), (10000, 2), (40000, 8)])
def test_tokens_are_sampled_evenly_whatever_the_batches(
    monkeypatch: pytest.MonkeyPatch, count: int, step: int
) -> None:
    monkeypatch.setattr(making, "TOKENS", 8192)
    tokens = torch.arange(float(count))[:, None]
    for size in (1, 37, 4096):
        parts = [_Part(piece) for piece in tokens.split(max(size, count // 500))]
        assert torch.equal(making._spread(parts), tokens[::step])


class _Part:
    def __init__(self, x: torch.Tensor) -> None:
        self.x_valid = x


@pytest.fixture(scope="module")
def spoken(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[EvalSession, LoadedSAE]:
    """Gender is said three times and the job once: the confounded probe leans on gender."""
    data = tmp_path_factory.mktemp("spoken")
    tasks, rng = labelled_data(data), random.Random(0)
    for split in ("train", "test"):
        rows = [
            {"text": said(rng, job, gender), "job": job, "gender": gender}
            for job in ("baker", "judge", "miner")
            for gender in ("f", "m")
            for _ in range(80)
        ]
        path = data / f"{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return opened(world, "topk", controls="off", suite="standard", data=str(tasks))


def said(rng: random.Random, job: str, gender: str) -> str:
    jobs, genders = {"baker": 0, "judge": 2, "miner": 4}, {"f": 12, "m": 16}
    words = [f"w{jobs[job] + rng.randrange(2)}"]
    words += [f"w{genders[gender] + rng.randrange(4)}" for _ in range(3)]
    words += [f"w{rng.randint(20, 55)}" for _ in range(6)]
    rng.shuffle(words)
    return " ".join(words)


def test_deleting_words_is_read_as_shift_reads_it(spoken: tuple[EvalSession, LoadedSAE]) -> None:
    session, sae = spoken
    latents, tasks = session.latents(sae), session.tasks
    (words, margin) = word_deletion.of_shift(Given(latents, tasks, 0, {"fits": 2}))
    assert (words.metric, margin.metric) == ("shift", "shift.margin")
    table = shift.measure(Given(latents, tasks, 0, {"fits": 2}, everything()))
    details = next(each for each in table if each.metric == "shift").details
    gains = details["table"]["words"]["plain"]
    for estimate, column in ((words, "intended"), (margin, "margin")):
        (task,) = estimate.details["tasks"].values()
        assert estimate.value == pytest.approx(
            gains[column]["gain"]["value"] / task["gap"]["value"], rel=1e-6
        )


def test_deleting_words_is_what_the_probes_say_of_the_texts_without_them(
    spoken: tuple[EvalSession, LoadedSAE],
) -> None:
    session, sae = spoken
    latents, task = session.latents(sae), session.tasks.scr[0]
    (words, *margins) = word_deletion.of_scr(Given(latents, session.tasks, 0, {"fits": 2}))
    assert [each.params["n"] for each in margins] == [20, "few"]
    assert words.params == {"n": 20, "direction": "spurious"}
    (gone,) = shift.deletions(session.tasks)
    means = latents.pooled(tuple(dict.fromkeys(gone.left.values()))).x
    place = {text: row for row, text in enumerate(dict.fromkeys(gone.left.values()))}
    left = np.stack([means[place[gone.left[text]]] for text in task.test.texts])
    texts = scr_and_tpp.erasure_texts(session.tasks)
    view = scr_and_tpp.PooledTask.of(latents, texts, task.train.texts, task.test.texts)
    probes = fit_probes(task.name, view.x_train, scr_and_tpp.quadrants(task.train), 0, 2).fits
    intended = np.array(task.test.intended)

    def right(probe: int, x: np.ndarray, which: int) -> float:
        logits = x.astype(float) @ probes[probe].weight[which].astype(float)
        return float(((logits + probes[probe].bias[which] > 0) == intended).mean())

    gain = sum(right(fit, left, 2) - right(fit, view.x_test, 2) for fit in range(2))
    gap = sum(right(fit, view.x_test, 0) - right(fit, view.x_test, 2) for fit in range(2))
    assert words.value == pytest.approx(gain / gap, rel=1e-9)
