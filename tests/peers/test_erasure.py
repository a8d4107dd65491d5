"""SCR and TPP value by value beside SAEBench's own functions, on the same activations and probes.

Theirs ablate at padding too, and draw other negatives at every call. The first is switched on here
by computing what it adds; the second by giving every class one text list for the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pytest_sae.measure.scr_and_tpp import quadrants
from pytest_sae.metrics import class_probes, scr, scr_estimates, tpp, tpp_estimates
from pytest_sae.metrics.ablation import AffineRemoval
from pytest_sae.numbers.bootstrap import generator
from pytest_sae.probes import ProbeSets
from pytest_sae.session.session import EvalSession, LoadedSAE
from tests.peers.conftest import Tokens

NS = (2, 5, 10, 20, 50)
EVEN, UNEVEN = 10, 60  # tokens of a text: all texts have as many, or not
NAMES = {"intended": "professor / nurse", "spurious": "male / female"}
NEGATIVE = {"intended": "nurse_data_only", "spurious": "female_data_only"}
CONFOUNDED, CONFOUNDED_NEGATIVE = "male_professor / female_nurse", "female_nurse_data_only"


def their_probe(weight: np.ndarray, bias: float):
    from sae_bench.evals.sparse_probing.probe_training import Probe

    probe = Probe(len(weight), torch.float32)
    with torch.no_grad():
        probe.net.weight.copy_(torch.from_numpy(weight)[None])
        probe.net.bias.fill_(float(bias))
    return probe


@dataclass
class Scr:
    """One task of the bundled world, its activations and probes, for both packages."""

    train: Tokens
    test: Tokens
    labels: scr.Quadrants
    labels_test: scr.Quadrants
    probes: ProbeSets
    ours: scr.ScrTask

    def lists(self, tokens: Tokens, labels: scr.Quadrants) -> dict[str, torch.Tensor]:
        found = {}
        for concept in ("intended", "spurious"):
            label = labels.label(concept)
            found[NAMES[concept]] = tokens.x[label]
            found[NEGATIVE[concept]] = tokens.x[~label]
        found[CONFOUNDED] = tokens.x[labels.intended & labels.spurious]
        found[CONFOUNDED_NEGATIVE] = tokens.x[~labels.intended & ~labels.spurious]
        return found

    def their_probes(self) -> dict:
        names = [*NAMES.values(), CONFOUNDED]
        published = self.probes.published
        return {
            name: their_probe(published.weight[place], published.bias[place])
            for place, name in enumerate(names)
        }


def scr_task(sae: LoadedSAE, session: EvalSession, most: int) -> Scr:
    task = session.tasks.scr[0]
    train = Tokens.of(sae, session, task.train.texts, most)
    test = Tokens.of(sae, session, task.test.texts, most)
    labels, labels_test = quadrants(task.train), quadrants(task.test)
    if most == EVEN:
        assert train.valid.all()
        assert test.valid.all()
    else:
        assert not test.valid.all()
    known, new = train.pooled(sae), test.pooled(sae)
    probes = scr.fit_probes(task.name, known.x, labels, 0, fits=2)
    rows = sae.dictionary.decoder_rows.numpy()
    removal = AffineRemoval(new.z, rows)
    ours = scr.score_task(task.name, probes, labels, known.z, labels_test, new.x, rows, removal, NS)
    return Scr(train, test, labels, labels_test, probes, ours)


@pytest.fixture(scope="module")
def even(sae: LoadedSAE, session: EvalSession) -> Scr:
    return scr_task(sae, session, EVEN)


@pytest.fixture(scope="module")
def uneven(sae: LoadedSAE, session: EvalSession) -> Scr:
    return scr_task(sae, session, UNEVEN)


def their_effects(task: Scr, theirs: SimpleNamespace) -> dict[str, torch.Tensor]:
    from sae_bench.evals.scr_and_tpp import main

    acts, probes = task.lists(task.train, task.labels), task.their_probes()
    names = [*NAMES.values(), CONFOUNDED]
    with torch.no_grad():
        return main.get_all_node_effects_for_one_sae(theirs, probes, names, True, acts, 50)


def their_scores(task: Scr, theirs: SimpleNamespace) -> tuple[dict, dict]:
    from sae_bench.evals.scr_and_tpp import main

    acts, probes = task.lists(task.test, task.labels_test), task.their_probes()
    names = [*NAMES.values(), CONFOUNDED]
    pooled = {name: x.sum(1) / (x.sum(2) != 0).sum(1, keepdim=True) for name, x in acts.items()}
    with torch.no_grad():
        effects = their_effects(task, theirs)
        clean = main.get_probe_test_accuracy(probes, names, pooled, 100, True)
        ablated = main.perform_feature_ablations(
            probes, theirs, 50, acts, effects, list(NS), names, 100, True
        )
    return main.get_scr_plotting_dict(ablated, clean), clean


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(((logits > 0) == labels).mean())


@pytest.mark.parametrize("concept", ["intended", "spurious"])
def test_effects_of_latents_are_the_same(
    uneven: Scr, sae: LoadedSAE, theirs: SimpleNamespace, concept: scr.Concept
) -> None:
    """They mask the padding here, so uneven texts make no difference."""
    z, label = uneven.train.pooled(sae).z, uneven.labels.label(concept)
    place = scr.CONCEPTS.index(concept)
    adds = sae.dictionary.decoder_rows.numpy() @ uneven.probes.published.weight[place]
    ours = np.abs(scr.mean_difference(z, label, ~label) * adds)
    found = their_effects(uneven, theirs)[NAMES[concept]].numpy()
    np.testing.assert_allclose(found, ours, rtol=2e-3, atol=1e-6 * ours.max())


def test_scr_is_the_same_where_no_text_has_padding(even: Scr, theirs: SimpleNamespace) -> None:
    scores, clean = their_scores(even, theirs)
    for direction, number in (("spurious", 1), ("intended", 2)):
        reading = even.ours.published[direction]
        label = even.labels_test.label(scr.READ[direction])
        own, confounded = accuracy(reading.own[0], label), accuracy(reading.confounded[0], label)
        assert clean[NAMES[scr.READ[direction]]] == pytest.approx(own, abs=1e-6)
        for place, n in enumerate(NS):
            changed = accuracy(reading.ablated[place, 0], label)
            expected = 0 if own - confounded < 1e-3 else (changed - confounded) / (own - confounded)
            found = scores[f"scr_dir{number}_threshold_{n}"]
            assert found == pytest.approx(expected, abs=0.02), (direction, n)
    canonical = scr_estimates.estimates([even.ours], 0)[-1]
    if "scr_metric_threshold_20" in scores and canonical.value is not None:
        assert scores["scr_metric_threshold_20"] == pytest.approx(canonical.value, abs=0.02)


def test_with_padding_theirs_moves_by_the_latents_that_fire_on_zeros(
    uneven: Scr, sae: LoadedSAE, theirs: SimpleNamespace
) -> None:
    """The defect switched on: an SAE fires on zero vectors too, and they remove that as well."""
    from sae_bench.evals.scr_and_tpp import main

    effects = their_effects(uneven, theirs)[NAMES["spurious"]]
    chosen = main.select_top_n_features(effects, 20, "spurious")
    with torch.no_grad():
        found = main.ablated_precomputed_activations(uneven.test.x, theirs, chosen, 50)
    pooled, latents = uneven.test.pooled(sae), chosen.nonzero()[:, 0].numpy()
    rows = sae.dictionary.decoder_rows.numpy()
    ours = pooled.x - AffineRemoval(pooled.z, rows).means([latents])[0]
    on_zeros = sae.dictionary.encode(torch.zeros(1, sae.dictionary.d_in))[0, chosen].numpy()
    lengths = uneven.test.valid.sum(1, keepdim=True).numpy()
    padding = (uneven.test.valid.shape[1] - lengths) / lengths
    defect = padding * (on_zeros @ rows[latents])
    np.testing.assert_allclose(found.numpy(), ours - defect, rtol=1e-3, atol=2e-4)


CLASSES = 4


@dataclass
class Tpp:
    name: str
    train: Tokens
    test: Tokens
    labels: np.ndarray
    labels_test: np.ndarray
    probes: ProbeSets
    ours: tpp.TppTask
    names: list[str]


@pytest.fixture(scope="module")
def classes(sae: LoadedSAE, session: EvalSession) -> Tpp:
    task = session.tasks.tpp[0]
    kept = [np.flatnonzero(np.array(split.labels) < CLASSES) for split in (task.train, task.test)]
    labels, labels_test = (
        np.array(split.labels)[places]
        for split, places in zip((task.train, task.test), kept, strict=True)
    )
    train = Tokens.of(sae, session, task.train.texts, EVEN).take(kept[0])
    test = Tokens.of(sae, session, task.test.texts, EVEN).take(kept[1])
    known, new = train.pooled(sae), test.pooled(sae)
    names = [str(c) for c in range(CLASSES)]
    probes = class_probes.fit_probes(task.name, known.x, labels, CLASSES, 0, fits=2)
    rows = sae.dictionary.decoder_rows.numpy()
    ours = tpp.score_task(
        task.name, names, probes, labels, known.z, labels_test, new.x, rows,
        AffineRemoval(new.z, rows), 0, NS,
    )  # fmt: skip
    return Tpp(task.name, train, test, labels, labels_test, probes, ours, names)


@pytest.fixture
def same_negatives(classes: Tpp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their draw of negatives replaced by this package's, which is made once.

    Theirs draws as many negatives as positives by torch's global generator at every call, so that
    its clean and ablated accuracies rest on different texts. Latents are ranked on all texts.
    """
    from sae_bench.evals.sparse_probing import probe_training

    labels = classes.labels_test
    chosen = class_probes.members(labels, CLASSES, generator(0, "tpp", classes.name, "test"))

    def prepare(acts, class_name, perform_scr=False):
        tested = sum(map(len, acts.values())) == len(labels)
        x, marks = [], []
        for name, each in acts.items():
            own = name == class_name
            used = chosen[int(class_name)][labels == int(name)] if tested else ...
            x.append(each[torch.from_numpy(used)] if tested else each)
            marks.append(torch.full((len(x[-1]),), int(own), dtype=torch.int))
        return torch.cat(x), torch.cat(marks)

    monkeypatch.setattr(probe_training, "prepare_probe_data", prepare)


def test_tpp_is_the_same_on_the_same_negatives(
    classes: Tpp, sae: LoadedSAE, theirs: SimpleNamespace, same_negatives: None
) -> None:
    from sae_bench.evals.scr_and_tpp import main

    published = classes.probes.published
    probes = {
        name: their_probe(published.weight[c], published.bias[c])
        for c, name in enumerate(classes.names)
    }
    acts = {
        split: {name: tokens.x[labels == c] for c, name in enumerate(classes.names)}
        for split, tokens, labels in (
            ("train", classes.train, classes.labels),
            ("test", classes.test, classes.labels_test),
        )
    }
    pooled = {name: x.mean(1) for name, x in acts["test"].items()}
    with torch.no_grad():
        effects = main.get_all_node_effects_for_one_sae(
            theirs, probes, classes.names, False, acts["train"], 50
        )
        clean = main.get_probe_test_accuracy(probes, classes.names, pooled, 100, False)
        ablated = main.perform_feature_ablations(
            probes, theirs, 50, acts["test"], effects, list(NS), classes.names, 100, False
        )
    total, _ = main.create_tpp_plotting_dict(ablated, clean)
    for place, n in enumerate(NS):
        parts = ("total_metric", "intended_diff_only", "unintended_diff_only")
        found = [total[f"tpp_threshold_{n}_{part}"] for part in parts]
        losses = classes.ours.effects["canonical"].losses[place]
        own = np.diag(losses).mean()
        others = (losses.sum(1) - np.diag(losses)).mean() / (CLASSES - 1)
        np.testing.assert_allclose(found, [own - others, own, others], atol=0.01)
    canonical = tpp_estimates.estimates([classes.ours], 0)[-1]
    assert total["tpp_threshold_20_total_metric"] == pytest.approx(canonical.value, abs=0.01)
