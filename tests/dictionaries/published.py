"""A walk over all that sae_lens' table publishes: by name, settings, layout, family and site.

The hub is faked: every repository has what `published_files` makes of an entry. `document()` is
docs/formats.md; `python -m tests.dictionaries.published` writes it.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from unittest.mock import patch

import pytest
from huggingface_hub import constants

from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo
from pytest_sae.dictionaries.content import COMMON, Content
from pytest_sae.dictionaries.formats import registry
from pytest_sae.dictionaries.hub import fetching, releases
from pytest_sae.dictionaries.hub.address import Address
from pytest_sae.dictionaries.hub.cache import HubFile, Listing
from pytest_sae.dictionaries.hub.releases import Release
from pytest_sae.dictionaries.layouts import files_of
from pytest_sae.dictionaries.prove import prove
from pytest_sae.dictionaries.spec import SAESpec, resolve
from pytest_sae.errors import OptionError
from pytest_sae.models.hub import parse
from pytest_sae.models.model import LanguageModel
from pytest_sae.session.loaded import sites_of
from tests.dictionaries import keys_document, releases_document
from tests.dictionaries.hub import hub_cache_files
from tests.dictionaries.hub.hub_cache_files import COMMIT
from tests.dictionaries.published_files import Stored, layer, stored
from tests.models.architectures import language_model

DOCUMENT = Path(__file__).parents[2] / "docs" / "formats.md"
#: By their names on the hub: architecture and number of blocks, from their configurations.
MODELS = {
    "gpt2": ("gpt2", 12),
    "EleutherAI/pythia-70m-deduped": ("gpt_neox", 6),
    "mistralai/Mistral-7B-v0.1": ("mistral", 32),
    "meta-llama/Meta-Llama-3-8B-Instruct": ("llama", 32),
    "meta-llama/Llama-3.1-8B": ("llama", 32),
    "meta-llama/Llama-3.1-8B-Instruct": ("llama", 32),
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": ("llama", 32),
    "meta-llama/Llama-3.3-70B-Instruct": ("llama", 80),
    "Qwen/Qwen2.5-7B-Instruct": ("qwen2", 28),
    "Qwen/Qwen3-0.6B": ("qwen3", 28),
    "Qwen/Qwen3-1.7B": ("qwen3", 28),
    "Qwen/Qwen3-4B": ("qwen3", 36),
    "Qwen/Qwen3-8B": ("qwen3", 36),
    "Qwen/Qwen3-14B": ("qwen3", 40),
    "Qwen/Qwen3-1.7B-Base": ("qwen3", 28),
    "Qwen/Qwen3-8B-Base": ("qwen3", 36),
    "Qwen/Qwen3-30B-A3B-Base": ("qwen3_moe", 48),
    "Qwen/Qwen3.5-2B-Base": ("qwen3_5_text", 24),
    "Qwen/Qwen3.5-9B-Base": ("qwen3_5_text", 32),
    "Qwen/Qwen3.5-27B": ("qwen3_5_text", 64),
    "Qwen/Qwen3.5-35B-A3B-Base": ("qwen3_5_moe_text", 40),
    "openai/gpt-oss-20b": ("gpt_oss", 24),
    "google/gemma-2b": ("gemma", 18),
    "google/gemma-2b-it": ("gemma", 18),
    "google/gemma-2-2b": ("gemma2", 26),
    "google/gemma-2-9b": ("gemma2", 42),
    "google/gemma-2-9b-it": ("gemma2", 42),
    "google/gemma-2-27b": ("gemma2", 46),
    **{f"google/gemma-3-270m{tuned}": ("gemma3_text", 18) for tuned in ("", "-it")},
    **{f"google/gemma-3-1b-{tuned}": ("gemma3_text", 26) for tuned in ("pt", "it")},
    # Models of images and texts.
    **{f"google/gemma-3-4b-{tuned}": ("gemma3", 34) for tuned in ("pt", "it")},
    **{f"google/gemma-3-12b-{tuned}": ("gemma3", 48) for tuned in ("pt", "it")},
    **{f"google/gemma-3-27b-{tuned}": ("gemma3", 62) for tuned in ("pt", "it")},
}
ASKS = "its site: neither files nor names say whether it reads a norm before or after its weight"


@dataclass(frozen=True)
class Outcome:
    """What became of an entry of the table.

    Args:
        release: its release's name.
        loader: sae_lens' loader for it.
        family: ours that read it, empty where it was refused.
        why: the reason of a refusal, or what is asked for beside the line.
        settings: names of what the table says beyond the files.
    """

    release: str
    loader: str
    family: str
    why: str = ""
    settings: tuple[str, ...] = ()


@dataclass
class FakeHub:
    """A hub, and the cache that its files come to, of one entry at a time."""

    root: Path
    files: Stored | None = None
    proven: set[object] = field(default_factory=set)

    def listing(self, address: Address, text: str) -> Listing:
        """Write the files of an entry, and list them with what may lie beside them."""
        assert self.files is not None
        storage = hub_cache_files.cache(self.root, address.repo, {})
        root = storage / "snapshots" / COMMIT
        folder = "" if address.path == self.files.weights else f"{address.path}/"
        there = {f"{folder}{self.files.weights}": "", "README.md": ""}
        if self.files.config:
            there[f"{folder}{self.files.config}"] = json.dumps(self.files.content)
        for name, text in there.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        names = [*there, f"{folder}sparsity.safetensors", "another/params.npz"]
        return Listing(COMMIT, dict.fromkeys(names, HubFile(None, None)), cached=True)


def walk() -> Iterator[Outcome]:
    """Take every entry of the table, in its order, as far as it goes."""
    with tempfile.TemporaryDirectory() as directory:
        fake = FakeHub(Path(directory))
        with (
            patch.object(fetching, "_listing", fake.listing),
            patch.object(constants, "HF_HUB_CACHE", directory),
            patch.object(constants, "HF_HUB_OFFLINE", True),
        ):
            for name, entry in releases.table().items():
                for sae in entry["saes"]:
                    release = releases._release(entry, sae)
                    yield _outcome(release, name, str(sae["id"]), fake)


def _outcome(release: Release, name: str, key: str, fake: FakeHub) -> Outcome:
    text = f"sae_lens:{name}/{key}"
    if (why := releases.refusal(release)) is not None:
        with pytest.raises(OptionError, match=re.escape(why)):
            resolve([text])
        return Outcome(name, release.loader, "", why)
    fake.files = stored(release, name, key)
    (spec,) = resolve([text])
    dictionary = registry.build(_content(spec, fake.files), spec.family, device="cpu", dtype=None)
    said = tuple(each for each, _ in spec.settings if each not in COMMON)
    _prove_once(dictionary, said, fake)
    info = dictionary.info
    if info.hook_in is None:
        return Outcome(name, release.loader, spec.family, ASKS, said)
    layers = _layers(str(info.model), info.hook_in, str(info.hook_out), json.dumps(info.trained_on))
    assert layers == {layer(release, key)}, (info, key)
    return Outcome(name, release.loader, spec.family, "", said)


def _content(spec: SAESpec, files: Stored) -> Content:
    """What reading the files would give, had they weights."""
    found = files_of(Path(spec.path))
    assert found is not None, spec
    assert found.weights.name == Path(files.weights).name
    assert (found.config.name if found.config else "") == files.config, spec
    return Content(spec.path, found.weights, files.content, files.tensors, dict(spec.settings))


def _prove_once(dictionary: Dictionary, said: tuple[str, ...], fake: FakeHub) -> None:
    """Prove the first of those that differ in nothing but what they are called."""
    kind = (dictionary.info.family, dictionary.info.k, type(dictionary), said)
    if kind not in fake.proven:
        fake.proven.add(kind)
        prove(dictionary)


@cache
def _layers(name: str, reads: str, writes: str, trained_on: str) -> set[int]:
    """The layers of the sites that a model of this name has."""
    info = DictionaryInfo("x", "x", name, reads, writes, trained_on=json.loads(trained_on))
    return {site.layer for site in sites_of(info, model(parse(name).repo))}


@cache
def model(name: str) -> LanguageModel:
    """A tiny model of a published one's architecture, with as many blocks."""
    arch, blocks = MODELS[name]
    if arch == "gemma3":
        return _of_images(blocks)
    experts = {"num_local_experts": 2, "num_experts_per_tok": 1} if arch == "gpt_oss" else {}
    return language_model(arch, num_hidden_layers=blocks, **experts)


def _of_images(blocks: int) -> LanguageModel:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = dict(language_model("gemma3_text").hf.config.to_dict(), num_hidden_layers=blocks)
    text.pop("layer_types", None)
    image = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 16, "patch_size": 8,
    }  # fmt: skip
    config = Gemma3Config(text_config=text, vision_config=image, mm_tokens_per_image=4)
    hf = Gemma3ForConditionalGeneration(config).eval().requires_grad_(False)
    return LanguageModel(hf, None, "gemma3", "x", "none")


def document(outcomes: list[Outcome]) -> str:
    """Return docs/formats.md."""
    read = [each for each in outcomes if each.family]
    refused = [each for each in outcomes if not each.family]
    asked = [each for each in read if each.why]
    corrected = [each for each in read if each.settings]
    count = len({each.release for each in outcomes})
    return f"""# What sae_lens publishes

`--sae=sae_lens:RELEASE/ID` takes what the table of sae_lens {version("sae-lens")} lists. Of its
{len(outcomes):,} entries in {count} releases {len(read):,} are read and {len(refused):,} are
refused. A test takes every one of them through name, settings, files, family, proof and site, on a
faked hub with tiny weights; `python -m tests.dictionaries.published` draws this page again.

## Read

{_table(("sae_lens' loader", "family", "releases", "dictionaries"), _by(read, "loader", "family"))}

{len(corrected)} of them have settings that the table says and their files do not:

{_table(("setting", "releases", "dictionaries"), _by_setting(corrected))}

{len(asked)} of them are read when more is said than the line:
`--sae=sae_lens,site=SITE,site_out=SITE:RELEASE/ID`.

{_table(("sae_lens' loader", "what", "releases", "dictionaries"), _by(asked, "loader", "why"))}

## Refused

Each is refused with this reason:

{_table(("sae_lens' loader", "why", "releases", "dictionaries"), _by(refused, "loader", "why"))}

{releases_document.document()}
{keys_document.document()}"""


def _by(outcomes: list[Outcome], *names: str) -> list[tuple[object, ...]]:
    """Rows of values, number of releases and of dictionaries, most dictionaries first."""
    return _counted([(tuple(getattr(o, name) for name in names), o.release) for o in outcomes])


def _by_setting(outcomes: list[Outcome]) -> list[tuple[object, ...]]:
    return _counted([((f"`{name}`",), o.release) for o in outcomes for name in o.settings])


def _counted(pairs: list[tuple[tuple[str, ...], str]]) -> list[tuple[object, ...]]:
    counts = Counter(values for values, _ in pairs)
    return [
        (*values, len({release for each, release in pairs if each == values}), f"{count:,}")
        for values, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


if __name__ == "__main__":
    DOCUMENT.write_text(document(list(walk())))
