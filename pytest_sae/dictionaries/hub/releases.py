"""`sae_lens:release/id`: what sae_lens' table of published dictionaries says, in our own terms.

The table is read as the data that it is: importing sae_lens takes ten times as long as parsing
it. Its own loaders are not used, several of which compute something else than was trained.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pytest_sae.dictionaries.formats.sae_lens_settings import (
    CORRECTIONS,
    NORM_FACTOR,
    NORMALISATION,
    SCALED,
)
from pytest_sae.dictionaries.hub.address import Address
from pytest_sae.errors import OptionError, suggest

_FAMILIES = {
    "sae_lens": "sae_lens",
    "gemma_2": "gemma_scope",
    "gemma_2_transcoder": "gemma_scope",
    "gemma_3": "gemma_scope",
    "llama_scope": "llama_scope",
    "llama_scope_r1_distill": "llama_scope",
    "dictionary_learning_1": "dictionary_learning",
    "qwen_scope": "qwen_scope",
    "connor_rob_hook_z": "batch_topk",
    "goodfire": "weights_only",
    "deepseek_r1": "dictionary_learning",
    "mwhanna_transcoder": "weights_only",
    "temporal": "sae_lens",
}
# Theirs, which are in no format that can be read here.
_REFUSED = {
    "mntss_clt_layer_transcoder": "it is a layer of a transcoder that writes to many layers, and "
    "its decoders would have to be summed, which is no reconstruction of one site",
}
# What is computed with the weights of theirs that come alone, at the layer of the file's name.
_ALONE = {
    "goodfire": {"activation": "relu", "apply_b_dec_to_input": "false"},
    "deepseek_r1": {"dict_class": "AutoEncoderNew"},
    "mwhanna_transcoder": {"activation": "relu", "apply_b_dec_to_input": "false"},
}
# What the table adds to a configuration and no figure depends on.
_IRRELEVANT = ("dataset_path", "neuronpedia_id")
_GEMMA_2 = re.compile(r"google/gemma-scope-(?P<size>\d+b)-(?P<tuned>pt|it)-(?P<kind>\w+)")
_GEMMA_2_WIDTHS = {"2b": 2304, "9b": 3584, "27b": 4608}
_GEMMA_2_SITES = {"res": "hook_resid_post", "mlp": "hook_mlp_out", "att": "attn.hook_z"}
_GEMMA_3_SITES = {
    "resid_post": ("model.layers.{}",),
    "attn_out": ("blocks.{}.attn.hook_z",),
    "mlp_out": ("model.layers.{}.post_feedforward_layernorm",),
    "transcoder": (
        "model.layers.{}.pre_feedforward_layernorm",
        "model.layers.{}.post_feedforward_layernorm",
    ),
}
_QWEN_3 = re.compile(r"mwhanna/qwen3-(?P<size>[\d.]+b)-transcoders(-\w+)?")
_LISTED = 8


@dataclass(frozen=True)
class Release:
    """One dictionary of the table.

    Args:
        repo: `owner/name` on the hub.
        folder: its directory or file there.
        loader: sae_lens' name for how it is read.
        model: the model it was trained on.
        factor: what activations were multiplied by in training, None where it says nothing.
        overrides: what it corrects in the configuration.
    """

    repo: str
    folder: str
    loader: str
    model: str
    factor: float | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """The family of ours that reads it."""
        return _FAMILIES[self.loader]

    @property
    def address(self) -> Address:
        """Where it lies; the table names no revision."""
        return Address(self.repo, "main", self.folder.strip("/"))


def find(text: str, whole: str) -> Release:
    """Return what the table says about `release/id`.

    Args:
        text: the release and the id, which may hold slashes.
        whole: the value of --sae, for messages.

    Raises:
        OptionError: no such release or id, or one that no family of ours can read.
    """
    name, _, wanted = text.partition("/")
    releases = table()
    if name not in releases:
        raise OptionError(
            f"--sae={whole}: there is neither a path {text} nor a release {name!r} in sae_lens' "
            f"table of {len(releases)}.{suggest(name, releases)} Expected sae_lens:release/id, a "
            f"path, or hf:owner/repo/path for what is not in the table."
        )
    entry = releases[name]
    paths = {str(each["id"]): each for each in entry["saes"]}
    if wanted not in paths:
        listed = ", ".join(list(paths)[:_LISTED])
        more = f" and {len(paths) - _LISTED} more" if len(paths) > _LISTED else ""
        raise OptionError(
            f"--sae={whole}: the release {name} has no id {wanted!r}.{suggest(wanted, paths)} "
            f"Expected one of {listed}{more}."
        )
    release = _release(entry, paths[wanted])
    _refuse(release, whole)
    return release


def settings(release: Release, directory: Path) -> dict[str, str]:
    """Return what the dictionary's own files do not say, as settings of its family.

    Args:
        release: from `find`.
        directory: where its files lie now.
    """
    if release.loader == "sae_lens":
        return _corrections(release, directory)
    if release.family == "llama_scope":
        return {"model": release.model, **_mean_norm(release, directory)}
    if release.loader in _ALONE:
        return {**_ALONE[release.loader], **_of_one_layer(release)}
    if release.loader == "connor_rob_hook_z":
        return {"model": release.model}
    if release.loader == "temporal":
        layer = re.search(r"layer_(\d+)", release.folder)
        site = {"site": f"blocks.{layer[1]}.hook_resid_post"} if layer else {}
        return {"model": release.model, **site}
    if release.loader == "gemma_3":
        return {} if _configuration(directory, "config.json") else _of_gemma_3(release)
    return _of_gemma_2(release) if release.loader.startswith("gemma_2") else {}


@cache
def table() -> Mapping[str, Any]:
    """Return sae_lens' table, by release.

    Raises:
        OptionError: sae_lens is not installed, or has it no longer.
    """
    found = find_spec("sae_lens")
    places = found.submodule_search_locations if found else None
    paths = [Path(each, "pretrained_saes.yaml") for each in places or ()]
    path = next((each for each in paths if each.is_file()), None)
    if path is None:
        raise OptionError(
            "the installed sae_lens has no table of releases (pretrained_saes.yaml). Expected "
            "one: install sae-lens>=6.50, or name the repository: --sae=hf:owner/repo/path"
        )
    import yaml  # type: ignore[import-untyped]

    # The parser in C is five times faster, and not in every build of PyYAML.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with path.open(encoding="utf-8") as file:
        releases: dict[str, Any] = yaml.load(file, Loader=loader)
    return releases


def _release(entry: Mapping[str, Any], sae: Mapping[str, Any]) -> Release:
    return Release(
        repo=str(entry["repo_id"]),
        folder=str(sae["path"]),
        loader=str(entry.get("conversion_func") or "sae_lens"),
        model=str(entry["model"]),
        factor=sae.get("norm_scaling_factor"),
        overrides=entry.get("config_overrides") or {},
    )


def refusal(release: Release) -> str | None:
    """Return why no family here reads a dictionary of the table, None if one does."""
    known = {*_FAMILIES, *_REFUSED}
    if release.loader not in known:
        return "it is newer than this package"
    if release.loader == "gemma_3" and "clt" in release.folder.split("/")[0]:
        return "it writes to many layers at once"
    return _REFUSED.get(release.loader) or _unknown_corrections(release)


def _unknown_corrections(release: Release) -> str | None:
    unknown = sorted(_flat(release.overrides).keys() - {*CORRECTIONS})
    if not unknown or release.loader != "sae_lens":
        return None
    return f"the table corrects {', '.join(unknown)} of it, which is no setting here"


def _refuse(release: Release, whole: str) -> None:
    why = refusal(release)
    if why is not None:
        raise OptionError(
            f"--sae={whole} is read by sae_lens' loader {release.loader}, and not here: {why}. "
            f"Expected one of the loaders {', '.join(_FAMILIES)}: convert it to sae_lens' own "
            f"format (from {release.repo}, {release.folder}) and pass its directory."
        )


def _of_one_layer(release: Release) -> dict[str, str]:
    """Model and site by the name of the file, and by that of the repository for transcoders."""
    qwen = _QWEN_3.fullmatch(release.repo)
    block = re.search(r"layer_(\d+)\.", release.folder)
    if qwen and block:
        return {
            "model": f"Qwen/Qwen3-{qwen['size'].upper()}",
            "site": f"blocks.{block[1]}.mlp.hook_in",
            "site_out": f"blocks.{block[1]}.hook_mlp_out",
        }
    layer = re.search(r"-l(\d+)\.", release.folder)
    site = {"site": f"blocks.{layer[1]}.hook_resid_post"} if layer else {}
    return {"model": release.model, **site}


def _of_gemma_2(release: Release) -> dict[str, str]:
    """Model and site, which these files have in the names of repository and folder alone.

    The table says the wrong model of some. Which normalisation the transcoders read, with its
    weight or without, nothing says: the run asks for their sites.
    """
    repo, layer = _GEMMA_2.fullmatch(release.repo), re.search(r"layer_(\d+)", release.folder)
    if repo is None:
        return {}
    model = f"google/gemma-2-{repo['size']}" + ("-it" if repo["tuned"] == "it" else "")
    if release.folder.startswith("embedding/"):
        return {"model": model, **_of_embeddings(_GEMMA_2_WIDTHS[repo["size"]])}
    if layer is None:
        return {}
    site = _GEMMA_2_SITES.get(repo["kind"])
    return {"model": model, **({"site": f"blocks.{layer[1]}.{site}"} if site else {})}


def _of_embeddings(width: int) -> dict[str, str]:
    """Those trained on embeddings that the model has not scaled: the first layer has them times √d.

    sae_lens scales their encoder and decoder so, and leaves out the decoder's bias.
    """
    return {"site": "blocks.0.hook_resid_pre", NORM_FACTOR: repr(1 / math.sqrt(width))}


def _of_gemma_3(release: Release) -> dict[str, str]:
    """Model and site by the same names, of the dictionaries that lie without a configuration."""
    layer = re.search(r"layer_(\d+)", release.folder)
    part = release.folder.split("/")[0]
    kind = next((each for each in _GEMMA_3_SITES if part.startswith(each)), None)
    if layer is None or kind is None:
        return {}
    size = release.repo.removeprefix("google/gemma-scope-2-")
    model = f"google/gemma-3-{size.removesuffix('-pt') if '270m' in size else size}"
    names = zip(("site", "site_out"), _GEMMA_3_SITES[kind], strict=False)
    return {"model": model, **{name: each.format(layer[1]) for name, each in names}}


def _corrections(release: Release, directory: Path) -> dict[str, str]:
    """What the table corrects in a `cfg.json`: processing, and a factor that was not folded."""
    flat = _flat(release.overrides)
    if release.factor is not None and _is_scaled(directory, flat):
        flat[NORM_FACTOR] = float(release.factor)
    return {name: _text(value) for name, value in flat.items()}


def _flat(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Corrections by name, those of a model's loading beside the others."""
    flat: dict[str, Any] = {}
    for name, value in overrides.items():
        flat.update(value if isinstance(value, Mapping) else {name: value})
    return {name: value for name, value in flat.items() if name not in _IRRELEVANT}


def _is_scaled(directory: Path, corrections: Mapping[str, Any]) -> bool:
    """Whether activations were scaled in training, so that the table's factor counts."""
    config = _configuration(directory, "cfg.json")
    declared = corrections.get(NORMALISATION, config.get(NORMALISATION))
    return declared is True or declared == SCALED


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _mean_norm(release: Release, directory: Path) -> dict[str, str]:
    """The mean norm of the activations, √d over the factor, where the files have none."""
    config = _configuration(directory, "hyperparams.json") or _configuration(
        directory, "config.json"
    )
    width = config.get("d_model")
    if not isinstance(width, int) or not release.factor:
        return {}
    known = config.get("dataset_average_activation_norm")
    return {} if known else {"norm_in": repr(math.sqrt(width) / release.factor)}


def _configuration(directory: Path, name: str) -> Mapping[str, Any]:
    """A configuration as it lies there; empty where it is none, which loading it will tell."""
    try:
        config = json.loads((directory / name).read_bytes())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
