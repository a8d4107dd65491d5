"""`--sae` values become dictionaries with unique short ids, or an error that helps."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pytest_sae.dictionaries.formats import entry_points
from pytest_sae.dictionaries.spec import SAESpec, _unique_ids, path_of, resolve, with_setting
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
    Path("saes/model.pkl").write_bytes(b"")
    assert "is a pickle" in refusal("saes/*")


def test_a_glob_takes_weights_files_and_leaves_what_training_put_beside_them(here: Path) -> None:
    make("saes/a")
    for name in ("8.pt", "9.npz", "optimizer.pt", "trainer_state.pt", "sparsity.safetensors"):
        Path("saes", name).write_bytes(b"")
    assert ids("saes/*") == ["8.pt", "9.npz", "a"]


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


def specs(*texts: str) -> list[tuple[str, str, str, tuple[tuple[str, str], ...]]]:
    return [(spec.id, spec.path, spec.family, spec.settings) for spec in resolve(texts)]


@pytest.mark.parametrize(
    ("before", "family", "settings"),
    [
        ("sae_lens:", "sae_lens", ()),
        ("switch_sae,k=32,experts=8:", "switch_sae", (("experts", "8"), ("k", "32"))),
        ("model=google/gemma-2-2b:", "", (("model", "google/gemma-2-2b"),)),
        ("site=blocks.3.mlp,model=./lm:", "", (("model", "./lm"), ("site", "blocks.3.mlp"))),
    ],
)
def test_a_family_and_settings_may_stand_before_the_path(
    here: Path, before: str, family: str, settings: tuple[tuple[str, str], ...]
) -> None:
    make("saes/topk", "saes/relu")
    assert specs(f"{before}saes/topk") == [("topk", "saes/topk", family, settings)]
    assert specs(f"{before}saes/*") == [
        ("relu", "saes/relu", family, settings),
        ("topk", "saes/topk", family, settings),
    ]


def test_an_unknown_family_is_told_the_nearest_and_all(here: Path) -> None:
    make("saes/topk")
    message = refusal("sparsfy,k=3:saes/topk")
    assert "'sparsfy'" in message
    assert "Did you mean 'sparsify'?" in message
    assert "sae_lens, dictionary_learning" in message


@pytest.mark.parametrize("path", ["C:/saes/topk", "C:", "a/b:c", "./openai:x", "k=3:topk", "x:y"])
def test_a_colon_in_a_path_that_is_there_is_no_family(here: Path, path: str) -> None:
    make(path)
    assert [(spec.path, spec.family, spec.settings) for spec in resolve([path])] == [
        (str(Path(path)), "", ())
    ]


@pytest.mark.parametrize("path", ["C:\\saes\\topk", "C:/saes/topk", "saes/a:b", "./openai:x"])
def test_a_drive_and_a_colon_after_a_slash_are_no_family_even_if_nothing_is_there(
    here: Path, path: str
) -> None:
    assert f"{Path(path)} does not exist" in refusal(path)


def test_a_drive_may_follow_a_family(here: Path) -> None:
    assert "C:/saes does not exist" in refusal("openai,k=3:C:/saes")


def test_one_path_with_other_settings_is_another_dictionary(here: Path) -> None:
    make("saes/m")
    path = "saes/m"
    assert ids(path, f"prefix=8:{path}", f"sae_lens,prefix=16:{path}", f"prefix=8:./{path}") == [
        "m",
        "m+prefix8",
        "m+sae_lens+prefix16",
    ]
    assert ids(f"prefix=8:{path}") == ["m"]


def test_what_the_path_of_another_packages_family_means_is_its_own_affair(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_points, "names", lambda: ("mine",))
    assert specs("mine:hub/*") == [("_", "hub/*", "mine", ())]
    assert "Expected sae_lens, " in refusal("yours:hub/*")
    assert ", mine." in refusal("yours:hub/*")


def test_a_setting_is_given_once(here: Path) -> None:
    make("saes/m")
    assert "twice" in refusal("prefix=8,prefix=9:saes/m")


def test_a_spec_survives_the_way_to_a_worker(here: Path) -> None:
    make("saes/m")
    spec = resolve(["openai,k=3:saes/m"])[0]
    sent = json.loads(json.dumps(dataclasses.astuple(spec)))
    assert SAESpec(*sent) == spec
    assert hash(SAESpec(*sent)) == hash(spec)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(alphabet="ab,=:/\\C.*[é \x00@", max_size=12))
def test_any_text_is_resolved_or_refused(here: Path, text: str) -> None:
    assume("/" not in text.replace("a/", ""))  # the whole disk need not be searched
    with contextlib.suppress(OptionError):
        assert resolve([text])


@pytest.mark.parametrize(
    "place", ["saes/m", "./saes/m", "saes/m/sae_weights.safetensors", "saes", "saes/*"]
)
def test_a_name_before_the_path_is_the_id_wherever_the_dictionary_lies(
    here: Path, place: str
) -> None:
    make("saes/m")
    assert ids(f"main_8.1@{place}") == ["main_8.1"]
    assert resolve([f"main@{here / place}"])[0].text == f"main@{here / place}"


def test_a_family_and_settings_may_follow_a_name(here: Path) -> None:
    make("saes/m")
    settings = (("k", "3"), ("site", "x@y"))
    assert specs("main@openai,k=3,site=x@y:saes/m") == [("main", "saes/m", "openai", settings)]
    assert path_of("main@openai,k=3:saes/m") == path_of("saes/m") == "saes/m"


@pytest.mark.parametrize(
    "path", ["v1@2", "v1@2/m", "v1@saes", "main@openai,k=3:x", "x/v1@2", "k=3:v1@2", "a b@c"]
)
def test_an_at_in_a_path_that_is_there_is_no_name(here: Path, path: str) -> None:
    make(path, "saes")
    assert [(spec.path, spec.family) for spec in resolve([path])] == [(path, "")]


def test_a_glob_with_an_at_that_matches_something_is_no_name(here: Path) -> None:
    make("v1@2", "v1@3/m")
    assert [spec.path for spec in resolve(["v1@*", "v1@*/m"])] == ["v1@2", "v1@3/m"]
    assert "nothing* matches nothing" in refusal("v1@nothing*")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("lab/one@v2", "lab/one@v2"), ("./a@b", "a@b"), ("k=3:a@b", "a@b"), ("~/a@b", "a@b"),
        ("main@lab/one@v2", "lab/one@v2"), ("main@k=3:a@b", "a@b"), ("main@a@b", "a@b"),
    ],
)  # fmt: skip
def test_an_at_behind_a_slash_or_a_setting_is_of_the_path(here: Path, text: str, path: str) -> None:
    assert f"{path} does not exist" in refusal(text)


@pytest.mark.parametrize("name", ["my-sae", "a b", "é", ".m", "m+2", "-m", "@", " "])
def test_a_name_that_can_be_none_is_told_what_one_is(here: Path, name: str) -> None:
    make("saes/m")
    if name == "@":  # nothing is called by nothing
        assert "@@saes/m does not exist" in refusal("@@saes/m")
        return
    message = refusal(f"{name}@saes/m")
    assert f"begins with {name!r}, which can be no name" in message
    assert "letters, digits, . and _" in message


def test_one_name_is_for_one_dictionary(here: Path) -> None:
    make("saes/a", "saes/b")
    message = refusal("main@saes/*")
    assert "means 2 dictionaries, which cannot all be called main" in message
    assert "main@saes/a." in message
    assert "--sae=main@saes/a is called main too" in refusal("main@saes/a", "main@saes/b")
    assert "is called main too" in refusal("main@saes/a", "main@k=3:saes/a")
    assert "--sae=main@saes/a calls main" in refusal("main@saes/a", "other@saes/a")
    assert len(resolve(["main@saes/a", "main@./saes/a"])) == 1


def test_a_dictionary_of_a_glob_can_have_a_name_and_keeps_its_place(here: Path) -> None:
    make("saes/a", "saes/b", "saes/c")
    assert ids("saes/*", "main@saes/b") == ["a", "main", "c"]
    assert ids("main@saes/b", "saes/*") == ["main", "a", "c"]


def test_a_name_is_kept_by_whom_it_was_given_to(here: Path) -> None:
    make("x/main", "y/m")
    assert ids("x/main", "main@y/m") == ["x.main", "main"]
    assert ids("main@y/m", "x/main") == ["main", "x.main"]
    assert ids("main@y/m", "k=3:x/main", "k=4:x/main") == ["main", "x.main+k3", "x.main+k4"]


def test_a_copy_with_another_setting_has_another_name() -> None:
    assert with_setting("main@sae_lens,at=0:saes/a", "k", "3") == "sae_lens,at=0,k=3:saes/a"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(["a", "b", "c.d"]), unique=True), st.permutations("abcd"))
def test_names_are_ids_whatever_stands_beside_them(
    here: Path, names: list[str], paths: list[str]
) -> None:
    for name in "abcd":
        if not Path(name).exists():
            make(name)
    named = [f"{name}@{path}" for name, path in zip(names, paths, strict=False)]
    found = ids(*named, *paths)
    assert found[: len(names)] == names
    assert len(set(found)) == len(paths)


def test_resolving_imports_nothing_heavy() -> None:
    script = (
        "import sys; import pytest_sae.dictionaries.spec, pytest_sae.dictionaries.load;"
        "heavy = {'torch', 'numpy', 'sae_lens', 'transformers', 'safetensors', 'pydantic'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
