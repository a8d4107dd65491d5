"""The structure and concepts families on a tiny model, against loops that share no code."""

from __future__ import annotations

import json
import random
from collections import Counter
from math import floor, log2
from pathlib import Path

import numpy as np
import pytest
import torch

from pytest_sae.dictionaries.spec import resolve
from pytest_sae.measure import mdl as measured_mdl
from pytest_sae.measure import scr_and_tpp
from pytest_sae.metrics import mdl
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.session.session import EvalSession, LoadedSAE
from tests.labelled import labelled_data
from tests.sessions import options
from tests.tiny import tiny_model, tiny_sae


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("structure")
    tiny_model(directory / "model")
    (directory / "data").mkdir()
    labelled_data(directory / "data")
    for name, seed in (("topk", 0), ("twin", 1)):
        tiny_sae(directory / name, model=str(directory / "model"), seed=seed)
    model = str(directory / "model")
    tiny_sae(directory / "normed", model=model, normalize_activations="layer_norm")
    return directory


def opened(world: Path, name: str, **changes: object) -> tuple[EvalSession, LoadedSAE]:
    session = EvalSession(options(world, **changes))
    return session, session.load(resolve([str(world / name)])[0])


def measured(session: EvalSession, family: str, sae: LoadedSAE) -> dict[str, Estimate]:
    return {m.key: m.estimate for m in session.measure(family, sae)}


@pytest.fixture(scope="module")
def topk(world: Path) -> tuple[EvalSession, LoadedSAE, dict[str, Estimate]]:
    session, sae = opened(world, "topk", twin=str(world / "twin"))
    return session, sae, measured(session, "structure", sae)


def tokens_of(session: EvalSession, sae: LoadedSAE) -> torch.Tensor:
    """(token, d): what is read at every valid token of the corpus."""
    texts = session.tasks.corpus.texts
    return torch.cat([part.x_valid for part in session.latents(sae).tokens(texts)])


@pytest.mark.parametrize("error", mdl.ERRORS)
def test_description_length_is_that_of_counting_and_decoding_by_hand(
    topk: tuple[EvalSession, LoadedSAE, dict[str, Estimate]], error: float
) -> None:
    session, sae, found = topk
    x = tokens_of(session, sae)
    z, rows = sae.dictionary.encode(x).numpy(), sae.dictionary.decoder_rows.numpy()
    spectrum = np.linalg.eigvalsh(np.cov(x.double().numpy().T, bias=True))
    step = np.sqrt(12 * mdl.water_level(spectrum, error * spectrum.sum()))
    bits, arrived = 0.0, np.zeros_like(z)
    for j in range(z.shape[1]):
        size = step / np.linalg.norm(rows[j])
        marks = [0 if v == 0 else 1 + floor(v / size) for v in z[:, j]]
        arrived[:, j] = [0 if m == 0 else (m - 0.5) * size for m in marks]
        bits -= sum(n / len(x) * log2(n / len(x)) for n in Counter(marks).values())
    left = x.double().numpy() - sae.dictionary.const(x).numpy() - arrived @ rows
    residual = np.linalg.eigvalsh(np.cov(left.T, bias=True)).clip(0)
    rest = mdl.rate(residual, error * spectrum.sum())
    assert found[f"mdl.latents:error={error}"].value == pytest.approx(bits, rel=1e-3)
    assert found[f"mdl.residual:error={error}"].value == pytest.approx(rest, rel=1e-3, abs=1e-2)
    whole = found[f"mdl:error={error}"]
    assert whole.value == pytest.approx(bits + rest, rel=1e-3)
    assert whole.details["without"] == pytest.approx(mdl.rate(spectrum, error * spectrum.sum()))
    assert whole.ci[0] < whole.value < whole.ci[1]


def test_a_dictionary_that_writes_nothing_costs_what_its_site_costs(world: Path) -> None:
    session, sae = opened(world, "topk")
    sae.dictionary.decoder_rows.zero_()
    texts = session.tasks.corpus.texts
    for each in measured_mdl.measure(session.latents(sae), texts, 0):
        if each.metric == "mdl":
            assert each.value == pytest.approx(each.details["without"], rel=1e-5)
        if each.metric == "mdl.latents":
            assert each.value == 0.0


def test_live_share_and_coactivation_are_those_of_the_dense_codes(
    topk: tuple[EvalSession, LoadedSAE, dict[str, Estimate]],
) -> None:
    session, sae, found = topk
    fires = sae.dictionary.encode(tokens_of(session, sae)).numpy() != 0
    live = fires.any(0)
    assert found["live_share"].value == live.mean()
    counts = fires.sum(0)
    enough = (counts >= 20) & (counts <= len(fires) - 20)
    correlations = np.corrcoef(fires[:, enough].T)
    np.fill_diagonal(correlations, -1)
    assert found["coactivation"].value == pytest.approx(correlations.max(1).mean(), abs=1e-6)
    assert found["coherence"].details["live_share"] == live.mean()


def test_a_twin_is_compared_and_its_absence_is_declared(
    world: Path, topk: tuple[EvalSession, LoadedSAE, dict[str, Estimate]]
) -> None:
    session, _, found = topk
    agreement = found["seed_agreement"]
    assert agreement.value == pytest.approx(agreement.details["floor"], abs=0.05)
    assert agreement.details["twin"] == session.twin.fingerprint
    alone, sae = opened(world, "topk")
    missing = measured(alone, "structure", sae)["seed_agreement"]
    assert missing.status == "not_applicable"
    assert "--sae-twin" in missing.reason
    itself, sae = opened(world, "topk", twin=str(world / "topk"))
    assert measured(itself, "structure", sae)["seed_agreement"].value == pytest.approx(1.0)


def test_without_fixed_rows_what_rests_on_them_is_not_applicable(world: Path) -> None:
    session, sae = opened(world, "normed")
    found = measured(session, "structure", sae) | measured(session, "concepts", sae)
    status = {key: each.status for key, each in found.items()}
    assert status["live_share"] == status["coactivation"] == "ok"
    for key in ("meta_structure", "mdl:error=0.1", "coherence", "concept_deletion"):
        assert status[key] == "not_applicable", key


def test_concepts_are_those_of_every_task_and_read_by_its_probes(world: Path) -> None:
    session, sae = opened(world, "topk")
    found = measured(session, "concepts", sae)["concept_deletion"]
    names = ["baker_judge intended", "baker_judge spurious", "jobs baker", "jobs judge"]
    assert [*found.details["concepts"]] == [*names, "jobs miner"]
    assert found.n == {"concepts": 5}
    assert found.details["curve"][0] == found.details["floor"][0]
    task, latents = session.tasks.scr[0], session.latents(sae)
    texts = scr_and_tpp.erasure_texts(session.tasks)
    view = scr_and_tpp.PooledTask.of(latents, texts, task.train.texts, task.test.texts)
    weight = scr_and_tpp.scr_probes(latents, view, task, 0, 2).fits[0].weight[0]
    told = found.details["couplings"]["baker_judge intended"]
    for each in told:
        row = sae.dictionary.decoder_rows[each["latent"]].numpy()
        assert each["coupling"] == pytest.approx(row @ weight / (row @ row), rel=1e-4)


def test_preferences_are_read_from_the_difference_of_two_replies(world: Path) -> None:
    session, sae = opened(world, "topk")
    assert measured(session, "concepts", sae)["preference_auc_kept"].status == "no_data"
    rng = random.Random(0)
    for split in ("train", "test"):
        rows = []
        for _ in range(120):
            better, worse = (
                " ".join(f"w{rng.randint(low, low + 7)}" for _ in range(8)) for low in (4, 30)
            )
            first = rng.random() < 0.5
            rows.append(
                {
                    "first": better if first else worse,
                    "second": worse if first else better,
                    "preferred": "first" if first else "second",
                    "score": (1 if first else -1) + rng.gauss(0, 0.5),
                }
            )
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (world / "data" / f"pairs.{split}.jsonl").write_text(text)
    tasks = world / "data" / "with_pairs.toml"
    table = '[preferences]\ntrain = "pairs.train.jsonl"\ntest = "pairs.test.jsonl"\n'
    tasks.write_text((world / "data" / "tasks.toml").read_text() + table)
    session, sae = opened(world, "topk", data=str(tasks))
    found = measured(session, "concepts", sae)["preference_auc_kept"]
    assert found.value == pytest.approx(1.0, abs=0.05)
    assert found.n["pairs"] == 120
    assert session.store.work.encoded_repeats == 0
