"""Pooled sparse probing beside SAEBench's own functions, on the same pooled latents.

Theirs draws the negatives again at every call; here both get the same, drawn once.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from scipy import sparse

probing = pytest.importorskip("pytest_sae.metrics.sparse_probing")

CLASSES, LATENTS, D, EACH = 4, 80, 12, 60


def split(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, latents and activations: some latents know a class, with noise."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), EACH)
    z = rng.random((len(labels), LATENTS)) * (rng.random((len(labels), LATENTS)) < 0.3)
    for latent in range(3 * CLASSES):
        fires = rng.random(len(labels)) < np.where(labels == latent % CLASSES, 0.7, 0.15)
        z[:, latent] = fires * rng.random(len(labels)) * (1 + latent // CLASSES)
    return labels, z.astype(np.float32), rng.normal(size=(len(labels), D)).astype(np.float32)


def members(labels: np.ndarray, seed: int) -> np.ndarray:
    """(class, text): all of a class, and a third as many of each other class."""
    rng = np.random.default_rng(seed)
    chosen = labels == np.arange(CLASSES)[:, None]
    for c in range(CLASSES):
        for other in set(range(CLASSES)) - {c}:
            places = rng.permutation(np.flatnonzero(labels == other))
            chosen[c, places[: EACH // (CLASSES - 1)]] = True
    return chosen


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch):
    """Their accuracies of each class at each k, on negatives that are given."""
    from sae_bench.evals.sparse_probing import probe_training

    def accuracies(known, new, k: int) -> list[float]:
        sets = {id(acts): chosen for acts, _, chosen in (known, new)}
        labels = {id(acts): own for acts, own, _ in (known, new)}

        def prepare(acts, class_name, perform_scr=False):
            c = int(class_name)
            used, own = sets[id(acts)][c], labels[id(acts)]
            x = torch.cat([each for _, each in sorted(acts.items())])
            return x[torch.from_numpy(used)], torch.from_numpy((own == c)[used]).int()

        monkeypatch.setattr(probe_training, "prepare_probe_data", prepare)
        # Its type check compares shapes with those of the caller, whatever is sampled.
        plain = inspect.unwrap(probe_training.train_sklearn_probe)
        monkeypatch.setattr(probe_training, "train_sklearn_probe", plain)
        _, found = probe_training.train_probe_on_activations(known[0], new[0], select_top_k=k)
        return [found[str(c)] for c in range(CLASSES)]

    return accuracies


def by_class(x: np.ndarray, labels: np.ndarray) -> dict[str, torch.Tensor]:
    return {str(c): torch.from_numpy(x[labels == c]) for c in range(CLASSES)}


def test_accuracies_at_each_k_are_the_same(published) -> None:
    labels, z, x = split(0)
    labels_test, z_test, x_test = split(1)
    chosen, chosen_test = members(labels, 2), members(labels_test, 3)

    def texts(labels: np.ndarray, z: np.ndarray, x: np.ndarray):
        targets = labels == np.arange(CLASSES)[:, None]
        even = np.where(targets, 0.5 / EACH, 0.5 / (EACH * (CLASSES - 1)))
        return probing.ProbedTexts(sparse.csr_array(z), x, targets, even, labels)

    ours = probing.score_dataset(
        "planted",
        [str(c) for c in range(CLASSES)],
        texts(labels, z, x),
        texts(labels_test, z_test, x_test),
        (chosen, chosen_test),
    )
    known, new = by_class(z, labels), by_class(z_test, labels_test)
    for place, k in enumerate(probing.PUBLISHED_KS):
        found = published((known, labels, chosen), (new, labels_test, chosen_test), k)
        assert ours.canonical[place].sum() == pytest.approx(np.mean(found), abs=0.01), k


def test_the_same_latents_are_picked() -> None:
    from sae_bench.evals.sparse_probing import probe_training

    labels, z, _ = split(0)
    chosen, targets = members(labels, 2), labels == np.arange(CLASSES)[:, None]
    ours = probing.strongest(
        sparse.csr_array(z), targets, chosen.astype(np.float64), 5, scaled=False
    )
    for c in range(CLASSES):
        used = torch.from_numpy(chosen[c])
        mask = probe_training.get_top_k_mean_diff_mask(
            torch.from_numpy(z)[used], torch.from_numpy(targets[c])[used].int(), 5
        )
        assert sorted(ours[c].tolist()) == (~mask).nonzero()[:, 0].tolist()
