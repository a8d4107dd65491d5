"""`--sae` values become dictionaries with unique short ids, or an error that helps."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_sae.dictionaries.spec import SAESpec, _unique_ids, resolve
from pytest_sae.errors import OptionError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*names: str) -> None:
    for name in names:
        path = Path(name)
        path.mkdir(parents=True)
        (path / "cfg.json").write_text("{}")
        (path / "sae_weights.safetensors").write_bytes(b"")


def ids(*texts: str) -> list[str]:
    return [spec.id for spec in resolve(texts)]


def refusal(*texts: str) -> str:
    with pytest.raises(OptionError) as caught:
        resolve(texts)
    assert f"--sae={texts[-1]}" in str(caught.value)
    assert "Expected" in str(caught.value)
    return str(caught.value)


def test_a_directory_and_its_weights_file_are_the_same_dictionary(here: Path) -> None:
    make("saes/topk")
    by_file = "saes/topk/sae_weights.safetensors"
    assert resolve(["saes/topk"]) == (SAESpec("topk", "saes/topk", "saes/topk"),)
    assert resolve([by_file]) == (SAESpec("topk", "saes/topk", by_file),)
    assert len(resolve(["saes/topk", by_file, "./saes/topk/", "saes/*"])) == 1


def test_repeated_values_keep_their_order(here: Path) -> None:
    make("b", "a", "c")
    assert ids("b", "c", "a") == ["b", "c", "a"]


def test_a_glob_is_sorted_and_leaves_other_files_out(here: Path) -> None:
    make("saes/topk", "saes/relu", "saes/batch")
    Path("saes/README.md").write_text("what these are")
    assert ids("saes/*") == ["batch", "relu", "topk"]
    assert ids("saes/**/sae_weights.safetensors") == ["batch", "relu", "topk"]
    assert ids("saes/r*", "saes/*") == ["relu", "batch", "topk"]
    assert ids("saes/relu/*") == ["relu"]


def test_a_glob_without_a_match_is_refused(here: Path) -> None:
    make("saes/topk")
    Path("saes/notes.txt").write_text("")
    assert "matches nothing" in refusal("saes/x*")
    assert "matches 1 other files" in refusal("saes/*.txt")


def test_a_glob_does_not_drop_a_directory_that_lost_its_weights(here: Path) -> None:
    make("saes/a", "saes/b")
    Path("saes/b/sae_weights.safetensors").unlink()
    assert "saes/b has cfg.json but no sae_weights.safetensors" in refusal("saes/*")


def test_a_glob_does_not_drop_a_pickle(here: Path) -> None:
    make("saes/a")
    Path("saes/ae.pt").write_bytes(b"")
    assert "is a pickle" in refusal("saes/*")


def test_a_directory_of_several_lists_them_and_proposes_the_glob(here: Path) -> None:
    make("saes/topk", "saes/relu")
    message = refusal("saes")
    assert "2 candidates" in message
    assert "saes/relu, saes/topk" in message
    assert "'saes/*'" in message
    assert ids("saes/*") == ["relu", "topk"]


def test_a_directory_of_one_means_that_one(here: Path) -> None:
    make("runs/final")
    assert resolve(["runs"]) == (SAESpec("final", "runs/final", "runs"),)


@pytest.mark.parametrize("text", ["", " ", "nowhere", "empty", "file.txt"])
def test_what_is_no_dictionary_is_refused(here: Path, text: str) -> None:
    Path("empty").mkdir()
    Path("file.txt").write_text("")
    with pytest.raises(OptionError, match="Expected"):
        resolve([text])


def test_no_value_means_no_dictionary() -> None:
    assert resolve([]) == ()


def test_parents_are_prepended_only_where_they_are_needed(here: Path) -> None:
    make("x/gpt2/topk", "y/gpt2/topk", "y/neo/topk", "relu")
    assert ids("x/gpt2/topk", "y/neo/topk", "relu") == ["gpt2.topk", "neo.topk", "relu"]
    assert ids("x/gpt2/topk", "y/gpt2/topk") == ["x.gpt2.topk", "y.gpt2.topk"]


def test_ids_hold_no_hyphen_and_stay_apart(here: Path) -> None:
    make("s/topk-001", "s/topk_001", "s/été 5", "s/a[b]")
    names = ids("s/topk-001", "s/topk_001", "s/été 5", "s/a[b]")
    assert names[0] != names[1]
    assert names[2:] == ["_t_5", "a_b_"]


def test_the_working_directory_itself_has_a_name(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("runs/final")
    monkeypatch.chdir("runs/final")
    assert ids(".") == ["final"]


def test_a_path_that_exists_is_no_glob(here: Path) -> None:
    make("sae[1]", "sae1")
    assert resolve(["sae[1]"])[0].path == "sae[1]"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(st.sampled_from(["a", "b", "a-", "é", "."]), min_size=1, max_size=4)))
def test_ids_are_unique_and_clean_whatever_the_paths(parts: list[list[str]]) -> None:
    names = _unique_ids([Path("/", *part) for part in parts])
    assert len(set(names)) == len(parts)
    assert all(re.fullmatch(r"[A-Za-z0-9_+][A-Za-z0-9._+]*", name) for name in names)


def test_resolving_imports_nothing_heavy() -> None:
    script = (
        "import sys; import pytest_sae.dictionaries.spec, pytest_sae.dictionaries.load;"
        "heavy = {'torch', 'numpy', 'sae_lens', 'transformers', 'safetensors', 'pydantic'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
