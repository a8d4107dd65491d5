"""What each family moves between the host and the dictionary's device, held by a table.

On a wide random dictionary of the bundled model, one task of each kind, at the size `smoke`. What
is computed with all latents of all tokens, or with all decoder rows, stays on the device; sparse
codes, pooled means, one number per latent and probe, and scores of texts come from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from benchmarks.width import FAMILIES, D, write
from pytest_sae import bundled_world
from pytest_sae.activations.latents import Latents
from pytest_sae.activations.sparse_rows import Places
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.families.registry import card_of
from pytest_sae.measure.given import measured
from pytest_sae.session.session import EvalSession, LoadedSAE
from tests.device.fake_device import GPU, FakeDevice
from tests.sessions import options

D_SAE = 4096
DECODER = 4 * D * D_SAE  # bytes of all decoder rows
LEAST = 1024  # bytes: what is smaller is a number, a flag or a few of them

#: MB at most (fetched, sent), in the order of measuring: each finds what those before it made.
#: Activations are kept on the host, for all dictionaries, and are sent to be encoded.
ALLOWED = {
    "core": (9.2, 31.0),
    "scr": (24.0, 30.0),
    "tpp": (1.9, 16.5),
    "removal": (1.7, 7.5),
    "erasure": (3.9, 60.0),
    "sparse_probing": (0.1, 0.1),
    "absorption": (6.8, 1.2),
    "senses": (0.5, 0.5),
    "ravel": (2.8, 4.7),
    "principled": (11.7, 6.6),
    "unlearning": (4.5, 10.0),
    "structure": (29.0, 71.0),
    "concepts": (0.36, 0.1),
}
#: What is as large: activations on their way to the host, and the fit of a dictionary of decoder
#: rows, whose sparse codes are multiplied there.
ON_HOST = ("activations.stream:_capture", "metrics.meta_structure:")


#: Its texts are another package's, and are encoded as those of `absorption`.
ELSEWHERE = {"last_token_probing"}


@dataclass(frozen=True)
class Measured:
    """What a family moved."""

    fetched: float
    sent: float
    largest: dict[str, int]
    refused: dict[tuple[str, str], int]


class Bench:
    """A session whose model and dictionary are on the fake device."""

    def __init__(self, directory: Path, device: FakeDevice) -> None:
        self.device = device
        self.dictionary = write(directory / "sae", D_SAE)
        self.session, self.sae = self._opened()

    def _opened(self) -> tuple[EvalSession, LoadedSAE]:
        session = EvalSession(options(device=str(GPU), gate=False, controls="off"))
        tasks = session.tasks
        session.tasks = replace(tasks, scr=tasks.scr[:1], tpp=tasks.tpp[:1])
        model = bundled_world() / "model"
        return session, session.load(resolve([f"model={model}:{self.dictionary}"])[0])

    def measure(self, family: str) -> Measured:
        self.device.clear()
        card = card_of(family)
        assert measured(card, self.session.given(card, self.sae))
        fetched, sent = (self.device.total(way) / 1e6 for way in ("fetched", "sent"))
        largest = {
            place: size for (way, place), size in self.device.largest.items() if way == "fetched"
        }
        return Measured(fetched, sent, largest, dict(self.device.refused))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with FakeDevice(LEAST) as device:
        yield Bench(tmp_path_factory.mktemp("bench"), device)


@pytest.fixture(scope="module")
def every(bench: Bench) -> dict[str, Measured]:
    return {family: bench.measure(family) for family in ALLOWED}


def test_every_family_without_a_judge_is_in_the_table() -> None:
    assert {*ALLOWED} == {*FAMILIES} - ELSEWHERE


@pytest.mark.parametrize("family", ALLOWED)
def test_a_family_moves_no_more_than_the_table_allows(
    every: dict[str, Measured], family: str
) -> None:
    fetched, sent = ALLOWED[family]
    assert every[family].fetched <= fetched
    assert every[family].sent <= sent


@pytest.mark.parametrize("family", ALLOWED)
def test_nothing_as_large_as_the_decoder_comes_from_the_device(
    every: dict[str, Measured], family: str
) -> None:
    large = {place for place, size in every[family].largest.items() if size >= DECODER}
    assert not {place for place in large if not place.startswith(ON_HOST)}


@pytest.mark.parametrize("family", ALLOWED)
def test_nothing_is_done_that_a_gpu_refuses(every: dict[str, Measured], family: str) -> None:
    assert not every[family].refused


def test_the_table_is_exceeded_where_decoder_rows_are_copied(
    bench: Bench, every: dict[str, Measured], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_device = Latents.fixed_rows.fget
    monkeypatch.setattr(Latents, "fixed_rows", property(lambda latents: on_device(latents).cpu()))
    found = bench.measure("concepts")
    assert found.fetched > ALLOWED["concepts"][0]
    assert max(found.largest.values()) >= DECODER


def test_the_table_is_exceeded_where_dense_latents_are_copied(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, take = Places.of, Places.take
    monkeypatch.setattr(Places, "of", lambda z: of(z.cpu()))
    monkeypatch.setattr(Places, "take", lambda there, z: take(there, z.cpu()))
    assert bench.measure("absorption").fetched > ALLOWED["absorption"][0]


def test_what_is_put_there_and_made_of_it_is_there() -> None:
    with FakeDevice() as device:
        x = torch.ones(4, 8).to(GPU)
        y = torch.zeros(8, device=GPU)
        assert (x @ y).device == (x + 1)[0].device == GPU
        assert torch.zeros(2).device != GPU
        assert x.cpu().device != GPU
    assert device.moved == {("sent", "elsewhere"): 128, ("fetched", "elsewhere"): 128}


def test_a_module_that_is_moved_is_there() -> None:
    with FakeDevice():
        layer = torch.nn.Linear(2, 2).to(GPU)
        assert next(layer.parameters()).device == GPU
        assert layer(torch.zeros(1, 2, device=GPU)).device == GPU


def test_numbers_that_are_read_are_counted() -> None:
    with FakeDevice() as device:
        x = torch.ones(3, dtype=torch.float64, device=GPU)
        assert float(x[0]) == 1
        assert x.tolist() == [1, 1, 1]
    assert device.total("fetched") == 8 + 24


def test_a_copy_into_a_part_of_a_tensor_is_a_transfer() -> None:
    with FakeDevice() as device:
        host, there = torch.zeros(4, 2), torch.ones(2, device=GPU)
        host[1] = there
        assert host[1].device != GPU
    assert device.total("fetched") == 8


def test_what_a_gpu_refuses_is_noted() -> None:
    with FakeDevice() as device:
        there = torch.ones(3, device=GPU)
        there.numpy()
        there + torch.ones(3)
        there + torch.tensor(1.0)  # a single number may be elsewhere
        there[torch.tensor([0])]  # and so may indices
    assert {name for name, _ in device.refused} == {"numpy", "add"}
