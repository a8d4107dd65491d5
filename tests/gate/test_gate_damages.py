"""The table of damages: what is drawn, what counts as seen, and that copies are what they claim."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from benchmarks.concept_panels import Code
from benchmarks.foreign_dictionaries import WEIGHTS
from benchmarks.gate_concepts import ConceptPool, drawn_tasks
from benchmarks.gate_damage_tables import Change, Compared, tables
from benchmarks.gate_damages import HARMLESS, Place
from benchmarks.gate_draws import Draw
from benchmarks.gate_reconstruction import Shared
from benchmarks.gate_truth import METRICS, Judged, table
from benchmarks.gate_truth import _damaged as _damaged_code
from benchmarks.gate_worlds import World
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.gate.bounds import load_thresholds, parse_thresholds
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.run.run import shipped_thresholds
from pytest_sae.session.session import EvalSession
from tests.labelled import labelled_data
from tests.session.test_session import options
from tests.tiny import tiny_model, tiny_sae

RULES = b'version = 1\n[metrics.removal]\ngate = "baseline"\nregression = { abs = 0.01 }\n'


@dataclass(frozen=True)
class Once(Draw):
    """Every unit once, in its order."""

    def units(self, members: NDArray[np.int64], *names: str) -> NDArray[np.int64]:
        return members


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    world = tmp_path_factory.mktemp("world")
    tiny_model(world / "model")
    (world / "data").mkdir()
    labelled_data(world / "data")
    tiny_sae(world / "topk", model=str(world / "model"))
    return Shared(EvalSession(options(world)), load_thresholds(shipped_thresholds()), most=10)


@pytest.mark.parametrize("family", ["removal", "tpp", "sparse_probing"])
def test_texts_that_are_drawn_once_each_give_what_a_run_measures(
    shared: Shared, family: str
) -> None:
    folder = Path(str(shared.session.options.data)).parents[1]
    sae = shared.session.load(resolve([str(folder / "topk")])[0])
    run = {each.key: each.estimate.value for each in shared.session.measure(family, sae)}
    drawn = ConceptPool(family, shared, sae).measured(Once(0, 0))
    for estimate, _ in drawn:
        key = next(k for k in run if k.partition(":")[0] == estimate.metric and _fits(k, estimate))
        assert estimate.value == pytest.approx(run[key], abs=1e-9, nan_ok=True)


def _fits(key: str, estimate: Estimate) -> bool:
    told = key.partition(":")[2]
    return sorted(filter(None, told.split(","))) == sorted(
        f"{name}={value}" for name, value in estimate.params.items()
    )


def test_texts_are_drawn_within_their_cell_and_their_split(shared: Shared) -> None:
    tasks = shared.session.tasks
    drawn = drawn_tasks(tasks, Draw(0, 0))
    for before, after in zip(tasks.tpp, drawn.tpp, strict=True):
        for old, new in ((before.train, after.train), (before.test, after.test)):
            label = dict(zip(old.texts, old.labels, strict=True))
            assert [label[text] for text in new.texts] == list(new.labels)
            assert np.bincount(new.labels).tolist() == np.bincount(old.labels).tolist()
            assert len(set(new.texts)) < len(new.texts)
    for before, after in zip(tasks.scr, drawn.scr, strict=True):
        split = before.train
        cell = {
            t: (i, s) for t, i, s in zip(split.texts, split.intended, split.spurious, strict=True)
        }
        cells = zip(after.train.intended, after.train.spurious, strict=True)
        assert [cell[text] for text in after.train.texts] == list(cells)


def removal(value: float, influence: tuple[float, ...] = (), se: float = 0.03) -> Estimate:
    return Estimate("removal", value, se=se, influence=influence)


def test_a_change_is_seen_by_its_paired_error_where_there_is_one() -> None:
    paired = Change.of(removal(0.5, (0.03, 0.04)), removal(0.48, (0.03, 0.036)))
    apart = Change.of(removal(0.5), removal(0.48))
    assert paired is not None
    assert apart is not None
    assert (paired.worse, paired.se) == (pytest.approx(0.02), pytest.approx(0.004))
    assert apart.se == pytest.approx(0.03 * math.sqrt(2))
    assert (paired.seen, apart.seen) == (True, False)
    assert paired.told.startswith("**-0.0200 ± 0.004")


def test_lower_is_worse_the_other_way_round_and_a_gain_is_never_seen() -> None:
    found = [
        Change.of(Estimate("absorption", 0.2, se=0.001), Estimate("absorption", value, se=0.001))
        for value in (0.3, 0.1)
    ]
    assert [each is not None and each.seen for each in found] == [True, False]


def test_the_table_names_who_sees_each_dictionary_and_what_the_rules_say() -> None:
    found = {
        "topk": [removal(0.5, (0.03, 0.04))],
        "dropped_05": [removal(0.4, (0.03, 0.04))],
        "bf16": [removal(0.5, (0.03, 0.04))],
    }
    compared = Compared.of("w", found, "topk", parse_thresholds(RULES, "x"))
    told = "\n".join(tables([compared], {"dropped_05": "some are silent"}, ["bf16"]))
    assert "| w | some are silent | - | **removal** | removal |" in told
    assert "| w | *bf16: nothing wrong* | - | - | - |" in told


def test_copies_with_nothing_wrong_write_what_the_whole_one_writes(tmp_path: Path) -> None:
    tiny_sae(tmp_path / "saes" / "topk", "topk")
    place = Place(World("w", tmp_path / "saes"), tmp_path)
    copies = {name: Path(sae) for name, sae in place.saes() if name in HARMLESS}
    x = torch.randn(200, 32, generator=torch.Generator().manual_seed(0))
    whole = load(tmp_path / "saes" / "topk")
    for path in copies.values():
        copy = load(path)
        off = (copy.reconstruct(x) - whole.reconstruct(x)).norm(dim=1)
        # Where two latents are nearly as strong, rounding may exchange them.
        assert float(off.median()) < 0.01 * float(whole.reconstruct(x).norm(dim=1).median())
        assert copy.fingerprint != whole.fingerprint
    assert load_file(copies["bf16"] / WEIGHTS)["W_dec"].dtype == torch.bfloat16


def test_a_damaged_code_is_the_damaged_sae_of_the_same_parts() -> None:
    rows = torch.nn.functional.normalize(torch.randn(20, 8), dim=1)
    code = Code("c", "trained", lambda x: (x @ rows.T).relu(), rows)
    x = torch.randn(50, 8)
    silent = _damaged_code(code, "dropped_20").encode(x)
    assert int((silent == 0).all(0).sum()) == 4
    noisy = _damaged_code(code, "decoder_noise_10").rows
    assert torch.allclose((noisy - rows).norm(dim=1), torch.full((20,), 0.1), atol=1e-5)


def test_the_truth_stands_beside_what_a_metric_says_of_the_change() -> None:
    kept = {key: removal(0.5, (0.03, 0.04)) for key in METRICS}
    worse = {key: removal(0.4, (0.03, 0.036)) for key in METRICS}
    found = {"whole": Judged(kept, (0.9, 0.8)), "silent": Judged(worse, (0.7, 0.6))}
    told = table({"plain": found})
    assert "| plain | whole | 0.900 / 0.800 | 0.500 |" in told
    assert "| plain | silent | 0.700 / 0.600 | **-0.1000 ± 0.004** |" in told
