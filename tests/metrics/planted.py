"""Worlds whose truth is planted: concepts with known latents, and a dictionary that knows them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pytest_sae.metrics import class_probes, scr, tpp
from pytest_sae.metrics.ablation import AffineRemoval
from pytest_sae.probes import ProbeSets

D, LATENTS = 24, 60


@dataclass(frozen=True)
class Split:
    x: np.ndarray
    z: sparse.csr_array


def background(texts: int, rng: np.random.Generator) -> np.ndarray:
    """(text, latent) sparse latents that know nothing of any concept."""
    return np.abs(rng.normal(size=(texts, LATENTS))) * (rng.random((texts, LATENTS)) < 0.2) * 0.2


def decoder(concept_latents: int, rng: np.random.Generator) -> np.ndarray:
    """The first latents write an axis each, all others somewhere in the remaining axes."""
    rows = rng.normal(size=(LATENTS, D)) / np.sqrt(D)
    rows[:, :concept_latents] = 0
    rows[:concept_latents] = np.eye(D)[:concept_latents]
    return rows.astype(np.float32)


def split(z: np.ndarray, rows: np.ndarray, noise: np.ndarray, rng: np.random.Generator) -> Split:
    x = z @ rows + rng.normal(size=(len(z), D)) * noise
    return Split(x.astype(np.float32), sparse.csr_array(z.astype(np.float32)))


@dataclass(frozen=True)
class ScrWorld:
    """Latents 0 and 1 fire for the intended concept and its absence, 2 and 3 for the spurious."""

    train: scr.Quadrants
    test: scr.Quadrants
    train_split: Split
    test_split: Split
    rows: np.ndarray
    probes: ProbeSets

    def score(self, ns=(2, 5, 20), z_train=None, z_test=None, rows=None) -> scr.ScrTask:
        rows = self.rows if rows is None else rows
        z_train = self.train_split.z if z_train is None else z_train
        z_test = self.test_split.z if z_test is None else z_test
        return scr.score_task(
            "planted",
            self.probes,
            self.train,
            z_train,
            self.test,
            self.test_split.x,
            rows,
            AffineRemoval(z_test, rows),
            ns,
        )


def quadrants(each: int) -> scr.Quadrants:
    intended, spurious = np.divmod(np.arange(4 * each) % 4, 2)
    return scr.Quadrants(intended.astype(bool), spurious.astype(bool))


def scr_world(
    spurious: float = 1.0, seed: int = 0, train: int = 100, test: int = 75, two_sided: bool = True
) -> ScrWorld:
    """Intended noisy (its own probe errs), spurious clean: the confounded probe leans on it.

    Args:
        spurious: strength of the spurious concept, 0 for none.
        two_sided: whether the absence of a concept has a latent too.
    """
    rng = np.random.default_rng(seed)
    rows = decoder(4, rng)
    noise = np.full(D, 0.02)
    noise[:4] = 0.35, 0.35, 0.05, 0.05

    def texts(labels: scr.Quadrants) -> Split:
        z = background(len(labels.intended), rng)
        z[:, 0], z[:, 1] = labels.intended, ~labels.intended * two_sided
        z[:, 2], z[:, 3] = labels.spurious * spurious, ~labels.spurious * spurious * two_sided
        return split(z, rows, noise, rng)

    labels, labels_test = quadrants(train), quadrants(test)
    known, new = texts(labels), texts(labels_test)
    probes = scr.fit_probes("planted", known.x, labels, seed)
    return ScrWorld(labels, labels_test, known, new, rows, probes)


CLASSES = ("a", "b", "c", "d")


@dataclass(frozen=True)
class TppWorld:
    """Latent c fires for class c, and nothing else tells the classes apart."""

    train: np.ndarray
    test: np.ndarray
    train_split: Split
    test_split: Split
    rows: np.ndarray
    probes: ProbeSets

    def score(self, ns=(1, 5, 20), z_train=None, z_test=None, rows=None) -> tpp.TppTask:
        rows = self.rows if rows is None else rows
        z_train = self.train_split.z if z_train is None else z_train
        z_test = self.test_split.z if z_test is None else z_test
        return tpp.score_task(
            "planted",
            CLASSES,
            self.probes,
            self.train,
            z_train,
            self.test,
            self.test_split.x,
            rows,
            AffineRemoval(z_test, rows),
            0,
            ns,
        )


def tpp_world(strength: float = 1.0, seed: int = 0, train: int = 80, test: int = 60) -> TppWorld:
    rng = np.random.default_rng(seed)
    rows = decoder(len(CLASSES), rng)

    def texts(labels: np.ndarray) -> Split:
        z = background(len(labels), rng)
        z[:, : len(CLASSES)] = (labels[:, None] == np.arange(len(CLASSES))) * strength
        return split(z, rows, np.full(D, 0.05), rng)

    labels, labels_test = (np.arange(len(CLASSES) * each) % len(CLASSES) for each in (train, test))
    known, new = texts(labels), texts(labels_test)
    probes = class_probes.fit_probes("planted", known.x, labels, len(CLASSES), seed)
    return TppWorld(labels, labels_test, known, new, rows, probes)


def permuted(world: ScrWorld | TppWorld, permutation: np.ndarray):
    """The same dictionary with its latents numbered otherwise."""
    return {
        "z_train": world.train_split.z[:, permutation],
        "z_test": world.test_split.z[:, permutation],
        "rows": world.rows[permutation],
    }


def rescaled(world: ScrWorld | TppWorld, scale: np.ndarray):
    """The same dictionary with every latent in other units."""
    return {
        "z_train": sparse.csr_array(world.train_split.z * scale),
        "z_test": sparse.csr_array(world.test_split.z * scale),
        "rows": world.rows / scale[:, None],
    }
