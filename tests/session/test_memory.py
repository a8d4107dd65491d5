"""A limit on memory: what is kept shrinks, values stay, and what cannot be kept is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pytest_sae.activations.codes import KEPT_BYTES
from pytest_sae.errors import OptionError
from pytest_sae.session import memory
from pytest_sae.session.memory import Needed, Texts, kept_bytes
from tests.labelled import labelled_data
from tests.sessions import opened, tiny_world
from tests.suite.running import ROOT, environment
from tests.tiny import tiny_model

FAMILIES = ("core", "tpp", "scr", "structure", "absorption", "erasure", "sparse_probing")
HELD, D = 2**20, 8
WIDE = Needed(10**6, 64 * 10**6, 64, 4, 32, Texts(10_000, 1_000, 100_000, 4))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_world(tmp_path_factory.mktemp("world"), "topk", "standard")


@pytest.mark.parametrize("arch", ["topk", "standard"])
def test_values_are_the_same_to_the_bit_within_any_limit(
    world: Path, arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "resident", lambda: HELD)
    free, sae = opened(world, arch)
    latents = free.latents(sae)
    needed = Needed.of(sae.dictionary, Texts.of(latents, free.tasks))
    tight, same = opened(world, arch, memory=HELD - needed.weights + needed.least)
    for family in FAMILIES:
        first, second = free.measure(family, sae), tight.measure(family, same)
        assert [each.estimate for each in first] == [each.estimate for each in second]
    assert tight.store.work.bytes_kept == 0 < free.store.work.bytes_kept
    assert tight.store.work.encoded_repeats > 0 == free.store.work.encoded_repeats


def test_tokens_are_counted_as_the_run_counts_them(world: Path) -> None:
    session, sae = opened(world, "topk")
    texts = Texts.of(session.latents(sae), session.tasks)
    session.measure("core", sae)
    corpus = session.store.work.encoded_tokens
    session.measure("tpp", sae)
    pooled = session.store.work.encoded_tokens - corpus
    # Special tokens are encoded too, and only others counted: one of each text here.
    assert texts.corpus_tokens == corpus + len(session.tasks.corpus.texts)
    assert texts.pooled_tokens == pooled + texts.pooled_texts


def test_a_limit_below_what_is_needed_is_refused_with_what_would_do(world: Path) -> None:
    with pytest.raises(OptionError, match=r"--sae-memory=\S+ GiB cannot be kept: topk") as raised:
        opened(world, "topk", memory=2**20)
    assert "are its weights" in str(raised.value)
    assert "Expected at least" in str(raised.value)


def test_what_a_limit_leaves_is_kept_in_halves_and_a_gibibyte_at_most() -> None:
    whole = HELD + WIDE.least
    assert kept_bytes(0, "sae", WIDE, HELD) == KEPT_BYTES
    assert kept_bytes(whole, "sae", WIDE, HELD) == 0
    assert kept_bytes(whole + 1000, "sae", WIDE, HELD) == 500
    assert kept_bytes(whole + 2**40, "sae", WIDE, HELD) == KEPT_BYTES
    with pytest.raises(OptionError, match="sae with 1,000,000 latents"):
        kept_bytes(whole - 1, "sae", WIDE, HELD)


def test_nothing_needed_grows_faster_than_the_latents() -> None:
    twice = replace(WIDE, d_sae=2 * WIDE.d_sae, weights=2 * WIDE.weights)
    for step, size in WIDE.steps().items():
        assert twice.steps()[step] <= 2 * size


PEAK = """
import resource, sys
from pathlib import Path
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.session.session import EvalSession
from pytest_sae.session.memory import Needed, Texts, resident
from tests.sessions import options

world, limit = Path(sys.argv[1]), int(sys.argv[2])
session = EvalSession(options(world, memory=limit))
spec = resolve([f"model={world / 'model'}:{world / 'layers.1'}"])[0]
session.tasks, session.load(resolve([str(world / "small")])[0])  # libraries, and the model
held = resident()
sae = session.load(spec)
needed = Needed.of(sae.dictionary, Texts.of(session.latents(sae), session.tasks))
for family in ("core", "tpp", "scr", "erasure", "structure"):
    session.measure(family, sae)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(held, held + max(needed.steps().values()), peak, session.store.work.bytes_kept)
"""


def _wide(directory: Path, d_sae: int, k: int, per_cell: int = 12) -> Path:
    """Write a world with a random dictionary of so many latents, and a small SAE beside it."""
    from tests.tiny import tiny_sae

    tiny_model(directory / "model", d=D)
    tiny_sae(directory / "small", d_in=D, model=str(directory / "model"))
    (directory / "data").mkdir()
    labelled_data(directory / "data", per_cell=per_cell)
    (directory / "layers.1").mkdir()
    rows = torch.nn.functional.normalize(torch.randn(d_sae, D), dim=1)
    tensors = {"encoder.weight": rows, "encoder.bias": torch.zeros(d_sae)}
    tensors |= {"W_dec": rows.clone(), "b_dec": torch.zeros(D)}
    save_file(tensors, directory / "layers.1" / "sae.safetensors")
    config = {"activation": "topk", "k": k, "d_in": D, "num_latents": d_sae}
    (directory / "layers.1" / "cfg.json").write_text(json.dumps(config))
    return directory


def _measured(world: Path, limit: int = 0) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(world), str(limit)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(each) for each in done.stdout.split()]


@pytest.mark.slow
@pytest.mark.parametrize("d_sae", [2**15, 2**17, 2**19])
def test_the_peak_is_as_it_was_estimated(d_sae: int, tmp_path: Path) -> None:
    held, estimated, peak, _ = _measured(_wide(tmp_path, d_sae, k=16))
    # Of what the dictionary takes, beside the interpreter and the model.
    assert 0.5 * (estimated - held) < peak - held < 1.1 * (estimated - held)


@pytest.mark.slow
def test_a_limit_is_kept_to_and_less_is_kept_within_a_lower_one(tmp_path: Path) -> None:
    world = _wide(tmp_path, 2**15, k=2**13)
    held, needed, peak, kept = _measured(world)
    assert peak < needed
    # Room for all but the codes, of which there are twice what is allowed for.
    limit = needed - kept // 2
    *_, peak_within, kept_within = _measured(world, limit)
    assert kept_within == 0 < kept
    assert held < peak_within < limit
