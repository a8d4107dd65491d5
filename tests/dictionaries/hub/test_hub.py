"""Dictionaries on the hub: fetched once, pinned, checked; offline from the cache; every refusal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sae.dictionaries.hub import cache as hub_cache
from pytest_sae.dictionaries.hub import errors as hub_errors
from pytest_sae.dictionaries.hub import fetching
from pytest_sae.dictionaries.hub import files as hub_files
from pytest_sae.dictionaries.hub.address import Address, parse
from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.spec import SAESpec, resolve
from pytest_sae.errors import OptionError
from tests.dictionaries.hub.hub_cache_files import COMMIT, Files, below, cache
from tests.dictionaries.hub.hub_server import Hub, Repo, digest

OLDER = "a" * 40
TOKEN = "hf_" + "secretsecret"
BIG = hub_cache.HubFile(65 * 2**30, None)
# A process of its own: the hub client reads its environment once, when it is imported.
CLIENT = """
import dataclasses, json, sys
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import OptionError
for line in sys.stdin:
    try:
        answer = {"specs": [dataclasses.asdict(spec) for spec in resolve([line.strip()])]}
    except OptionError as error:
        answer = {"error": str(error)}
    print("ANSWER " + json.dumps(answer), flush=True)
"""


class Client:
    """`resolve` in a process whose hub is a server of the test."""

    def __init__(self, url: str, home: Path, **environment: str) -> None:
        self.home = home
        self._process = subprocess.Popen(
            [sys.executable, "-c", CLIENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join(sys.path),
                "OMP_NUM_THREADS": "1",
                "HF_ENDPOINT": url,
                "HF_HOME": str(home),
                "HF_HUB_OFFLINE": "0",
                "HF_HUB_DOWNLOAD_TIMEOUT": "1",
                "HF_HUB_ETAG_TIMEOUT": "1",
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "NO_PROXY": "127.0.0.1",
                "HF_TOKEN": TOKEN,
                **environment,
            },
        )

    def resolve(self, text: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("ANSWER "):
                answer: dict[str, Any] = json.loads(line.removeprefix("ANSWER "))
                return answer
        raise AssertionError(self._process.communicate()[1])

    def specs(self, text: str) -> list[SAESpec]:
        answer = self.resolve(text)
        assert "specs" in answer, answer
        return [SAESpec(**each) for each in answer["specs"]]

    def refusal(self, text: str) -> str:
        answer = self.resolve(text)
        assert "error" in answer, answer
        message = str(answer["error"])
        assert message.startswith(f"--sae={text}")
        assert "Expected" in message
        assert TOKEN not in message
        return message

    def close(self) -> str:
        return self._process.communicate(timeout=20)[1]


@pytest.fixture(scope="module")
def server(topk: Files) -> Iterator[Hub]:
    readme = {"README.md": b"what these are"}
    two = {**below("layer_1/l0_8", topk), **below("layer_1/l0_16", topk)}
    pickle = {"sae.pkl": b"cos\nsystem", "notes.txt": b"-"}
    faults = ("gated", "private", "bad token", "429", "500", "503", "absent", "wrong bytes")
    faults += ("moved", "other commit")
    repos = {
        "lab/one": Repo({**readme, **topk}, refs=("main", "v1", "a/branch", "refs/pr/2")),
        "lab/two": Repo({**readme, **two, **pickle}),
        "lab/cut": Repo(dict(topk), fault="cut once"),
        "lab/slow": Repo(dict(topk), fault="slow"),
        **{f"lab/{fault.replace(' ', '-')}": Repo(dict(topk), fault=fault) for fault in faults},
    }
    with Hub(repos) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    running = Client(server.url, tmp_path_factory.mktemp("home"))
    yield running
    running.close()


def refusal(text: str) -> str:
    with pytest.raises(OptionError, match="Expected") as caught:
        resolve([text])
    assert str(caught.value).startswith(f"--sae={text}")
    return str(caught.value)


# Addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hf:lab/one", Address("lab/one", "main", "")),
        ("hf:lab/one/", Address("lab/one", "main", "")),
        ("hf:lab/one/a/b.pt", Address("lab/one", "main", "a/b.pt")),
        ("hf:lab/one@v1.2/a/", Address("lab/one", "v1.2", "a")),
        ("hf:lab/one@feature%2Fx/a", Address("lab/one", "feature/x", "a")),
        ("hf:lab/one@refs/pr/7/a/b", Address("lab/one", "refs/pr/7", "a/b")),
        ("hf:lab/one@refs/pr/7", Address("lab/one", "refs/pr/7", "")),
        ("hf:lab/o/blocks.0:v1", Address("lab/o", "main", "blocks.0:v1")),
    ],
)
def test_an_address_has_a_repository_a_revision_and_a_path(text: str, address: Address) -> None:
    assert parse(text) == address
    assert parse(str(address)) == address or "%2F" in text


@pytest.mark.parametrize(
    "text",
    ["hf:", "hf:one", "hf:lab/one@", "hf:lab/one/../x", "hf:lab/one/a//b", "hf:/lab/one",
     "hf:lab/one@..%2Fx/a", "hf:l b/one"],
)  # fmt: skip
def test_what_is_no_address_is_refused_before_anything_is_asked(text: str) -> None:
    assert "no address on the hub" in refusal(text)


@settings(deadline=None)
@given(st.text("lab/@.:%2F*é", max_size=14))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = parse(f"hf:{text}")
    except OptionError:
        return
    assert address.repo.count("/") == 1
    assert ".." not in address.path.split("/")


# Offline


def test_offline_the_cache_serves_a_branch_and_a_commit(home: Path, topk: Files) -> None:
    root = cache(home, "lab/one", topk) / "snapshots" / COMMIT
    by_branch, by_commit = resolve(["hf:lab/one"])[0], resolve([f"hf:lab/one@{COMMIT}"])[0]
    assert by_branch == SAESpec("one", str(root), "hf:lab/one", revision=COMMIT)
    assert (by_commit.path, by_commit.revision) == (by_branch.path, COMMIT)
    assert len(resolve(["hf:lab/one", f"hf:lab/one@{COMMIT}/sae_weights.safetensors"])) == 1


def test_what_comes_from_the_hub_loads_as_what_lay_on_disk(
    home: Path, topk: Files, sae_dirs: dict[str, Path]
) -> None:
    cache(home, "lab/one", below("layer_1", topk))
    spec = resolve(["hf:lab/one@main/layer_1"])[0]
    theirs, ours = load(sae_dirs["topk"]), load(spec.path, family=spec.family)
    x = torch.randn(5, ours.d_in)
    assert ours.fingerprint == theirs.fingerprint
    assert torch.equal(ours.reconstruct(x), theirs.reconstruct(x))


def test_ids_are_made_of_the_path_in_the_repository(home: Path, topk: Files) -> None:
    cache(home, "lab/one", {**below("layer_1/a", topk), **below("layer_2/a", topk)})
    cache(home, "lab/two", topk)
    texts = ["hf:lab/two", "hf:lab/one/layer_1/a", "hf:lab/one/layer_2/a"]
    assert [spec.id for spec in resolve(texts)] == ["two", "layer_1.a", "layer_2.a"]


def test_a_family_and_settings_may_stand_before_an_address(home: Path, topk: Files) -> None:
    cache(home, "lab/one", topk)
    spec = resolve(["sae_lens,site=blocks.3.mlp:hf:lab/one"])[0]
    assert (spec.family, spec.settings) == ("sae_lens", (("site", "blocks.3.mlp"),))
    spec = resolve(["model=tiny:hf:lab/one"])[0]
    assert (spec.family, spec.settings) == ("", (("model", "tiny"),))


def test_a_path_of_that_name_on_the_disk_comes_first(home: Path, sae_dirs: dict[str, Path]) -> None:
    shutil.copytree(sae_dirs["topk"], "hf:lab/one")
    assert resolve(["hf:lab/one"])[0].revision == ""


def test_offline_a_cache_without_the_repository_or_revision_says_so(
    home: Path, topk: Files
) -> None:
    assert "the cache has nothing of lab/one at 'main'" in refusal("hf:lab/one")
    cache(home, "lab/one", topk)
    message = refusal("hf:lab/one@v2")
    assert "'v2'" in message
    assert "hf download lab/one --revision v2" in message
    cache(home, "lab/one", {}, ref="a/branch")
    assert resolve(["hf:lab/one@a%2Fbranch"])[0].revision == COMMIT
    assert "the cache has nothing of lab/one at 'a'" in refusal("hf:lab/one@a")
    assert "no name of a repository" in refusal("hf:lab/..")


def test_offline_a_cache_without_the_path_says_what_it_has(home: Path, topk: Files) -> None:
    cache(home, "lab/one", below("layer_1", topk))
    message = refusal("hf:lab/one/layer_2")
    assert "Did you mean 'layer_1'?" in message
    assert "unset HF_HUB_OFFLINE" in message


def test_a_damaged_file_in_the_cache_is_refused(home: Path, topk: Files) -> None:
    storage = cache(home, "lab/one", topk)
    blob = storage / "blobs" / digest(topk["sae_weights.safetensors"])
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    message = refusal("hf:lab/one")
    assert str(blob) in message
    assert "delete" in message


def test_a_damaged_file_that_repositories_share_in_the_cache_is_refused(
    home: Path, topk: Files
) -> None:
    storage = cache(home, "lab/one", topk)
    blob = storage / "blobs" / digest(topk["sae_weights.safetensors"])
    shared = home / "blobs" / "5e" / ("5e" * 32)  # by another digest, as the client shares them
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(shared)
    assert resolve(["hf:lab/one"])[0].revision == COMMIT
    shared.write_bytes(shared.read_bytes()[:-1])
    assert "not what was published" in refusal("hf:lab/one")


def test_a_snapshot_that_the_client_knows_to_be_partial_serves_what_it_has(
    home: Path, topk: Files
) -> None:
    storage = cache(home, "lab/one", topk)
    listed = {name: {"size": 1, "blob_id": "0" * 40} for name in (*topk, "README.md")}
    (storage / "trees").mkdir()
    tree = {"format_version": 1, "files": listed}
    (storage / "trees" / f"{COMMIT}.json").write_text(json.dumps(tree))
    with pytest.raises(IncompleteSnapshotError):
        snapshot_download("lab/one")
    before = sorted(home.rglob("*"))
    assert resolve(["hf:lab/one"])[0].revision == COMMIT
    assert sorted(home.rglob("*")) == before
    assert "It has cfg.json, sae_weights.safetensors." in refusal("hf:lab/one/README.md")


def test_a_cache_without_links_is_taken_as_it_is(home: Path, topk: Files) -> None:
    root = home / "models--lab--one" / "snapshots" / COMMIT  # as on Windows
    root.mkdir(parents=True)
    for name, content in topk.items():
        (root / name).write_bytes(content)
    assert resolve([f"hf:lab/one@{COMMIT}"])[0].path == str(root)


# Online


def test_a_branch_is_resolved_once_and_only_the_dictionary_is_downloaded(
    client: Client, server: Hub, topk: Files
) -> None:
    server.asked.clear()
    spec = client.specs("hf:lab/one")[0]
    assert (spec.id, spec.text, spec.revision) == ("one", "hf:lab/one", COMMIT)
    names = {path.name for path in Path(spec.path).iterdir()}
    assert names == {"cfg.json", "sae_weights.safetensors"}
    assert len([each for each in server.asked if "/api/models/" in each]) == 1
    assert not any("README" in each for each in server.asked)
    assert load(spec.path).info.family == "sae_lens.topk"


def test_what_is_cached_is_not_downloaded_again(client: Client, server: Hub) -> None:
    first = client.specs("hf:lab/one")
    server.asked.clear()
    assert client.specs("hf:lab/one") == first
    assert not any(each.startswith("GET /lab/one/resolve") for each in server.asked)


@pytest.mark.parametrize("revision", ["v1", "a%2Fbranch", "refs/pr/2", COMMIT])
def test_any_kind_of_revision_is_resolved(client: Client, revision: str) -> None:
    assert client.specs(f"hf:lab/one@{revision}")[0].revision == COMMIT


def test_what_was_fetched_by_branch_is_there_offline(
    client: Client, topk: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    online = client.specs("hf:lab/one")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(client.home / "hub"))
    assert list(resolve(["hf:lab/one"])) == online


def test_a_glob_takes_every_match(client: Client) -> None:
    ids = [spec.id for spec in client.specs("hf:lab/two@main/layer_1/l0_*")]
    assert ids == ["l0_16", "l0_8"]


def test_a_weights_file_brings_its_configuration(client: Client) -> None:
    specs = client.specs("hf:lab/two/layer_1/l0_8/sae_weights.safetensors")
    assert (specs[0].id, Path(specs[0].path).name) == ("l0_8", "l0_8")


def test_a_directory_of_several_lists_them(client: Client) -> None:
    message = client.refusal("hf:lab/two")
    assert "2 dictionaries" in message
    assert "layer_1/l0_16, layer_1/l0_8" in message


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("hf:lab/nothing", "no model repository lab/nothing, or it is private"),
        ("hf:lab/private", "no model repository lab/private, or it is private"),
        ("hf:lab/one@v9", "no revision 'v9'"),
        ("hf:lab/two/layer_1/l0_9", "Did you mean 'layer_1/l0_8'?"),
        ("hf:lab/two/layer_9/*", "no layer_9/*"),
        ("hf:lab/two/sae.pkl", "pickle that can run code"),
        ("hf:lab/two/notes.txt", "no dictionary's weights"),
        ("hf:lab/gated", "accept its terms at https://huggingface.co/lab/gated, and set HF_TOKEN"),
        ("hf:lab/bad-token", "status 401"),
        ("hf:lab/429", "too many requests"),
        ("hf:lab/500", "status 500"),
        ("hf:lab/503", "status 503"),
        ("hf:lab/absent", "does not have it"),
        ("hf:lab/other-commit", "gives cfg.json of another"),
        ("hf:lab/..", "no name of a repository"),
        ("hf:lab/one--two", "no name of a repository"),
    ],
)
def test_every_failure_says_what_to_do(client: Client, text: str, found: str) -> None:
    assert found in client.refusal(text)


def test_a_download_that_breaks_off_is_taken_up_again(client: Client, server: Hub) -> None:
    server.asked.clear()
    first = client.resolve("hf:lab/cut")  # earlier versions of the hub's client give up here
    assert "specs" in first or "try again" in first["error"]
    spec = client.specs("hf:lab/cut")[0]
    assert load(spec.path).info.family == "sae_lens.topk"
    weights = "GET /lab/cut/resolve/main/sae_weights.safetensors"
    assert len([each for each in server.asked if each.startswith(weights)]) == 2


def test_other_bytes_than_the_hub_names_are_refused_again_and_again(client: Client) -> None:
    for _ in range(2):
        message = client.refusal("hf:lab/wrong-bytes")
        assert "not what was published" in message
        assert "delete that file" in message


def test_a_slow_hub_is_not_waited_for(client: Client) -> None:
    assert "cannot be reached, or broke off (ReadTimeout" in client.refusal("hf:lab/slow")


def test_without_a_hub_a_commit_is_served_from_the_cache_and_a_branch_is_not(
    client: Client, server: Hub, tmp_path: Path
) -> None:
    client.specs("hf:lab/one")
    alone = Client("http://127.0.0.1:9", client.home)
    assert alone.specs(f"hf:lab/one@{COMMIT}")[0].revision == COMMIT
    message = alone.refusal("hf:lab/one")
    assert "cannot be reached" in message
    assert f"The cache has commit {COMMIT}" in message
    assert "The cache has" not in alone.refusal("hf:lab/none")
    assert TOKEN not in alone.close()


def test_a_new_commit_of_a_branch_is_another_dictionary(topk: Files, tmp_path: Path) -> None:
    repo = Repo(dict(topk), commit=OLDER)
    with Hub({"lab/moves": repo}) as server:
        client = Client(server.url, tmp_path)
        before = client.specs("hf:lab/moves")[0]
        repo.commit = COMMIT
        after = client.specs("hf:lab/moves")[0]
        client.close()
    assert (before.revision, after.revision) == (OLDER, COMMIT)
    assert before.path != after.path


def test_a_branch_that_moves_in_the_meantime_gives_the_commit_that_was_resolved(
    client: Client,
) -> None:
    spec = client.specs("hf:lab/moved")[0]
    assert (spec.revision, Path(spec.path).name) == (COMMIT, COMMIT)


def test_what_is_too_large_or_does_not_fit_is_refused_before_it_is_downloaded(
    home: Path, topk: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = hub_cache.Listing(
        COMMIT, {"cfg.json": hub_cache.HubFile(9, None), "sae_weights.safetensors": BIG}
    )
    monkeypatch.setattr(fetching, "_ask", lambda address: listing)
    assert "has 65.0 GiB. Expected 64 GiB at most" in refusal("hf:lab/one")
    monkeypatch.setattr(fetching, "LARGEST", 10**18)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert "set HF_HUB_CACHE to a directory that has it" in refusal("hf:lab/one")


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (httpx.RemoteProtocolError("peer closed connection"), "or broke off (RemoteProtocolError"),
        (httpx.ConnectTimeout("timed out"), "cannot be reached"),
        (httpx.ConnectError("[SSL] certificate"), "cannot be reached"),
        (ConnectionResetError(104, "reset by peer"), "cannot be reached"),
        (OSError(28, "No space left on device"), "cfg.json could not be downloaded"),
        (PermissionError(13, "Permission denied"), "a cache that can be written to"),
        (LocalEntryNotFoundError("neither"), "cannot be reached"),
    ],
)
def test_an_error_below_the_hub_is_said_as_what_it_is(error: Exception, found: str) -> None:
    message = hub_errors.explain(error, Address("lab/one", "main", ""), "cfg.json")
    assert found in message
    assert "Expected" in message


def test_no_secret_is_repeated() -> None:
    error = OSError(f"no route to https://me:pass@mirror/x with {TOKEN}\nmore")
    assert hub_errors.reason(error) == "OSError: no route to https://***mirror/x with ***"


def test_resolving_local_paths_imports_nothing_of_the_hub(sae_dirs: dict[str, Path]) -> None:
    script = (
        "import sys; from pytest_sae.dictionaries.spec import resolve;"
        f"resolve([{str(sae_dirs['topk'])!r}]);"
        "heavy = {'huggingface_hub', 'sae_lens', 'yaml', 'httpx', 'requests', 'torch'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


# Files by name


@pytest.mark.parametrize(
    ("names", "path", "places", "files"),
    [
        (["cfg.json", "sae_weights.safetensors", "x.md"], "", [""],
         ["cfg.json", "sae_weights.safetensors"]),
        (["a/hyperparams.json", "a/checkpoints/final.safetensors", "a/b.pt"], "a", ["a"],
         ["a/checkpoints/final.safetensors", "a/hyperparams.json"]),
        (["a/hyperparams.json", "a/checkpoints/final.safetensors"],
         "a/checkpoints/final.safetensors", ["a/checkpoints/final.safetensors"],
         ["a/checkpoints/final.safetensors", "a/hyperparams.json"]),
        (["l/w/params.npz", "l/w/config.json"], "l", ["l/w"],
         ["l/w/config.json", "l/w/params.npz"]),
        (["l/params.npz"], "l", ["l"], ["l/params.npz"]),
        (["8.pt", "config.json"], "8.pt", ["8.pt"], ["8.pt"]),
        (["a/b/c/d/e/params.npz"], "", [], []),
        (["a/b/c/d/params.npz"], "", ["a/b/c/d"], ["a/b/c/d/params.npz"]),
        (["x/a/b/c/d/params.npz"], "x", ["x/a/b/c/d"], ["x/a/b/c/d/params.npz"]),
        (["ab/params.npz", "a/x.md"], "a", [], []),
    ],
)  # fmt: skip
def test_files_of_a_repository_are_chosen_by_name(
    names: list[str], path: str, places: list[str], files: list[str]
) -> None:
    assert hub_files.places(names, path) == places
    assert [name for place in places for name in hub_files.files(names, place)] == files


@settings(deadline=None)
@given(st.data())
def test_a_repository_is_understood_as_its_copy_on_disk_would_be(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    from pytest_sae.dictionaries.layouts import LAYOUTS, candidates

    leaves = {name for each in LAYOUTS for name in (each.weights, each.config) if name}
    part = st.sampled_from(["", "a/", "b/", "a/b/", "a/b/c/"])
    name = st.tuples(part, st.sampled_from(sorted(leaves | {"8.pt", "x.md"}))).map("".join)
    names = data.draw(st.sets(name, min_size=1, max_size=6))
    path = data.draw(st.sampled_from(["", "a", "a/b", *sorted(names)]))
    root = tmp_path_factory.mktemp("copy")
    for each in names:
        (root / each).parent.mkdir(parents=True, exist_ok=True)
        (root / each).touch()
    on_disk = {str(each.relative_to(root)) for each in candidates(root / path)}
    chosen = hub_files.places(names, path)
    copied: Callable[[str], str] = lambda place: str(candidates(root / place)[0].relative_to(root))  # noqa: E731
    assert {copied(place) for place in chosen} == on_disk
