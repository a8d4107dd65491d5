"""The file beside a baseline: read as it was written, or refused; never used for other values."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from pytest_sae.errors import BaselineError
from pytest_sae.gate.baseline import Baseline, Entry
from pytest_sae.gate.baseline_file import read_baseline, write_baseline
from pytest_sae.records.influence_file import read_influence, sidecar, write_influence

KEY = ("a", "scr:n=20")
floats32 = st.floats(-10, 10, width=32)
influences = st.dictionaries(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["l0", "scr:n=20", "kl"])),
    st.lists(floats32, min_size=1, max_size=9).map(tuple),
    max_size=6,
)


@given(influence=influences, values=st.lists(st.floats(-5, 5), min_size=6, max_size=6))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(tmp_path: Path, influence: dict, values: list[float]) -> None:
    path = tmp_path / "kept.json"
    known = dict(zip(influence, values, strict=False))
    write_influence(path, known, influence, 10**6)
    first = sidecar(path).read_bytes() if influence else b""
    assert read_influence(path, known) == influence
    assert write_influence(path, known, influence, 10**6).file is None
    assert (sidecar(path).read_bytes() if influence else b"") == first


def written(tmp_path: Path, **changed: object) -> Path:
    entry = Entry("a", "scr", {"n": 20}, 0.25, 0.1, influence=(0.5, -0.5, 0.25))
    write_baseline(tmp_path, [replace(entry, **changed)], 1000)
    return tmp_path / "a.json"


def test_a_baseline_has_one_file_beside_it_and_is_no_longer_without(tmp_path: Path) -> None:
    written(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"a.json", "a.influence.safetensors"}
    assert read_baseline(tmp_path, "kept").entries[0].influence == (0.5, -0.5, 0.25)


def test_an_sae_that_has_more_than_the_limit_keeps_none_and_an_older_file_goes(
    tmp_path: Path,
) -> None:
    path = written(tmp_path)
    (entry,) = read_baseline(path, "kept").entries
    files, left_out = write_baseline(path, [entry], 11)
    assert files == [sidecar(path)]
    assert left_out == [
        "what each text adds to the errors of a: 12 bytes, not kept "
        "(--sae-baseline-texts allows 11)"
    ]
    assert not sidecar(path).exists()
    assert write_baseline(path, [entry], 0) == ([], [])


def test_a_value_that_was_edited_is_not_paired_with_the_texts_of_another(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace("0.25,", "0.75,", 1))
    with pytest.raises(BaselineError, match=r"scr:n=20 of a = 0.25, and a.json says 0.75. Delete"):
        read_baseline(path, "kept")


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-2])


def _flip(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 64
    file.write_bytes(bytes(raw))


def _other_number(file: Path) -> None:
    tensors = load_file(file)
    save_file({**tensors, "000001": tensors["000000"]}, file, {"about": _about(file)})


def _other_version(file: Path) -> None:
    about = {**json.loads(_about(file)), "influence_version": 2}
    save_file(load_file(file), file, {"about": json.dumps(about)})


def _no_header(file: Path) -> None:
    save_file(load_file(file), file)


def _other_type(file: Path) -> None:
    tensors = {name: tensor.astype("float64") for name, tensor in load_file(file).items()}
    save_file(tensors, file, {"about": _about(file)})


def _about(file: Path) -> str:
    with safe_open(file, "numpy") as tensors:
        return str(tensors.metadata()["about"])


@pytest.mark.parametrize(
    "damage", [_cut, _flip, _other_number, _other_version, _no_header, _other_type]
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = written(tmp_path)
    damage(sidecar(path))
    with pytest.raises(BaselineError, match=r"holds no influences of texts: .*Delete it, or"):
        read_baseline(path, "kept")


@given(raw=st.binary(max_size=300))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_bytes_are_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "a.json"
    sidecar(path).write_bytes(raw)
    with pytest.raises(BaselineError, match="Delete it"):
        read_influence(path, {KEY: 1.0})


MADE = {"model": "m", "data": "d"}


@pytest.mark.parametrize(
    ("now", "made", "paired"),
    [
        ((0.5, -0.5, 0.5), MADE, 0.25),
        ((), MADE, None),
        ((0.5, -0.5), MADE, None),
        ((0.5, -0.5, 0.5), {**MADE, "data": "other"}, None),
    ],
    ids=["alike", "nothing said", "other texts", "not comparable"],
)
def test_only_what_was_measured_on_the_same_texts_is_paired(
    now: tuple, made: dict, paired: float | None
) -> None:
    entry = Entry("a", "l0", {}, 3.0, 0.7, fingerprints=MADE, influence=(0.5, -0.5, 0.25))
    against = Baseline("kept", [entry]).against(("a", "l0"), made, influence=now)
    assert against.paired == paired
    assert against.noise(0.7) == pytest.approx(0.25 if paired else 0.7 * 2**0.5)
