"""Damaged copies: wrong in one thing, by a known amount, and dictionaries all the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pytest_sae.dictionaries.base import Contextual, Dictionary
from pytest_sae.dictionaries.damaged import DAMAGES, damaged
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.prove import prove
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import DictionaryError
from tests.dictionaries.formats.sae_lens_files import write_temporal
from tests.tiny import SAE_ARCHS, tiny_sae

LATENTS = [name for name, damage in DAMAGES.items() if damage.encode]
ROWS = [name for name, damage in DAMAGES.items() if damage.rows]


def tokens() -> Tensor:
    return torch.randn(200, 32, generator=torch.Generator().manual_seed(2)) * 2 + 1


@pytest.fixture
def topk(sae_dirs: dict[str, Path]) -> Dictionary:
    return load(sae_dirs["topk"])


@pytest.mark.parametrize("name", [*LATENTS, *ROWS])
@pytest.mark.parametrize("arch", SAE_ARCHS)
def test_every_damage_is_a_dictionary_of_its_own_that_can_be_made_again(
    name: str, arch: str, sae_dirs: dict[str, Path]
) -> None:
    original, x = load(sae_dirs[arch]), tokens()
    one, again = (damaged(original, name) for _ in range(2))
    prove(one)
    assert torch.equal(one.reconstruct(x), again.reconstruct(x))
    assert one.fingerprint == again.fingerprint != original.fingerprint
    assert not torch.equal(one.reconstruct(x), original.reconstruct(x))


@pytest.mark.parametrize(
    ("name", "silent"), [("dropped_01", 1), ("dropped_05", 5), ("dropped_20", 19)]
)
def test_latents_that_are_dropped_are_silent_and_the_others_as_they_were(
    name: str, silent: int, sae_dirs: dict[str, Path]
) -> None:
    relu, x = load(sae_dirs["standard"]), tokens()
    before, after = relu.encode(x), damaged(relu, name).encode(x)
    dead = (after == 0).all(0)
    assert before.any(0).all()
    assert (relu.d_sae, int(dead.sum())) == (96, silent)
    assert torch.equal(after[:, ~dead], before[:, ~dead])


@pytest.mark.parametrize(("name", "share"), [("half_active", 0.5), ("k_less_10", 0.1)])
def test_the_strongest_of_the_active_latents_of_each_token_stay(
    topk: Dictionary, name: str, share: float
) -> None:
    x = tokens()
    before, after = topk.encode(x), damaged(topk, name).encode(x)
    for old, new in zip(before, after, strict=True):
        active = old.nonzero().flatten().tolist()
        left = len(active) - max(1, int(share * len(active)))
        strongest = sorted(active, key=lambda j: -abs(float(old[j])))[:left]
        assert new.nonzero().flatten().tolist() == sorted(strongest)
        assert torch.equal(new[strongest], old[strongest])


def test_k_less_a_tenth_is_a_topk_of_smaller_k(sae_dirs: dict[str, Path], tmp_path: Path) -> None:
    smaller = load(with_k(sae_dirs["topk"], tmp_path / "smaller", lambda k: k - max(1, k // 10)))
    assert torch.equal(
        damaged(load(sae_dirs["topk"]), "k_less_10").encode(tokens()), smaller.encode(tokens())
    )


def test_a_larger_k_is_the_same_sae_with_another_number_in_its_files(
    sae_dirs: dict[str, Path], tmp_path: Path
) -> None:
    larger = load(with_k(sae_dirs["topk"], tmp_path / "larger", lambda k: round(2.7 * k)))
    (spec,) = resolve([f"damage=k_times_2.7:{sae_dirs['topk']}"])
    found = load(spec.path, settings=spec.settings)
    assert torch.equal(found.encode(tokens()), larger.encode(tokens()))
    assert (found.info.k, found.info.family) == (larger.info.k, "sae_lens.topk.k_times_2.7")


def test_a_k_that_no_file_declares_cannot_be_multiplied(sae_dirs: dict[str, Path]) -> None:
    with pytest.raises(DictionaryError, match=r"declares no k.*Expected a TopK"):
        load(sae_dirs["standard"], settings=[("damage", "k_times_2.7")])


def test_half_of_the_latents_are_half_as_strong_and_the_others_as_they_were(
    sae_dirs: dict[str, Path],
) -> None:
    relu = load(sae_dirs["standard"])
    before, after = relu.encode(tokens()), damaged(relu, "halved_50").encode(tokens())
    halved = (after != before).any(0)
    assert int(halved.sum()) == relu.d_sae // 2
    assert torch.equal(after[:, halved], before[:, halved] / 2)


def with_k(source: Path, copy: Path, changed: Callable[[int], int]) -> Path:
    shutil.copytree(source, copy)
    config = json.loads((copy / "cfg.json").read_text())
    (copy / "cfg.json").write_text(json.dumps({**config, "k": changed(config["k"])}))
    return copy


@pytest.mark.parametrize(
    ("name", "share"),
    [("decoder_noise_05", 0.05), ("decoder_noise_10", 0.1), ("decoder_noise_30", 0.3)],
)
def test_noise_has_its_share_of_the_length_of_each_row(
    topk: Dictionary, name: str, share: float
) -> None:
    before, after = topk.decoder_rows, damaged(topk, name).decoder_rows
    assert before is not None
    assert after is not None
    lengths = (after - before).norm(dim=1) / before.norm(dim=1)
    assert torch.allclose(lengths, torch.full_like(lengths, share), atol=1e-5)


def test_what_is_read_is_off_by_a_tenth_of_its_size(topk: Dictionary) -> None:
    x, seen = tokens(), []

    class Spy:
        def __getattr__(self, name: str) -> object:
            return getattr(topk, name)

        def encode(self, read: Tensor) -> Tensor:
            seen.append(read)
            return topk.encode(read)

    damaged(Spy(), "encoder_noise_10").encode(x)  # type: ignore[arg-type]
    off = ((seen[0] - x).norm() / x.norm()).item()
    assert off == pytest.approx(0.1, rel=0.2)


def test_three_rows_of_a_hundred_change_places_and_none_is_lost(topk: Dictionary) -> None:
    before, after = topk.decoder_rows, damaged(topk, "permuted_03").decoder_rows
    assert before is not None
    assert after is not None
    assert (before != after).any(1).sum() == 3
    assert sorted(map(tuple, before.tolist())) == sorted(map(tuple, after.tolist()))


@pytest.mark.parametrize("name", ROWS)
def test_rows_cannot_be_damaged_where_there_are_none(name: str, tmp_path: Path) -> None:
    normalised = load(tiny_sae(tmp_path, "topk", normalize_activations="layer_norm"))
    with pytest.raises(DictionaryError, match=r"no fixed decoder rows.*Expected a damage of the"):
        damaged(normalised, name)


@pytest.mark.parametrize("name", LATENTS)
def test_latents_can_be_damaged_whatever_the_decoder_is(name: str, tmp_path: Path) -> None:
    prove(damaged(load(tiny_sae(tmp_path, "topk", normalize_activations="layer_norm")), name))


def test_a_temporal_dictionary_is_damaged_in_its_latents_and_still_reads_the_context(
    tmp_path: Path,
) -> None:
    write_temporal(tmp_path / "sae", 16, 48)
    original, x = load(tmp_path / "sae"), torch.randn(2, 5, 16)
    copy = damaged(original, "half_active")
    assert isinstance(original, Contextual)
    assert isinstance(copy, Contextual)
    read = copy.in_context(x)
    assert torch.equal(read, original.in_context(x))
    assert torch.equal(copy.const(read[0]), original.const(read[0]))


def test_a_damage_is_asked_for_as_a_setting_and_has_an_id_of_its_own(
    sae_dirs: dict[str, Path],
) -> None:
    whole, worse = resolve([str(sae_dirs["topk"]), f"damage=dropped_20:{sae_dirs['topk']}"])
    assert worse.id == f"{whole.id}+damagedropped_20"
    loaded = load(worse.path, settings=worse.settings)
    assert loaded.fingerprint == damaged(load(whole.path), "dropped_20").fingerprint


def test_an_unknown_damage_is_refused_with_the_ones_that_there_are(topk: Dictionary) -> None:
    with pytest.raises(DictionaryError, match=r"Did you mean 'dropped_20'.*half_active"):
        damaged(topk, "droped_20")
