"""What a model has where an SAE may read: at the declared site, at others, with BOS and without.

others(model, info, d_in) -> Iterator[OtherSite]
seen(model, places, texts, bos, context, prepare) -> list[Seen]
candidates(name, width) -> Iterator[Candidate]
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.doctor.figures import Components, components, ordinary
from pytest_sae.errors import ModelError, SiteError
from pytest_sae.models import blocks, hub, processing
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.processing import Processing
from pytest_sae.models.site import Site, known_hooks
from pytest_sae.models.tokenize import batches
from pytest_sae.session.loaded import sites_of

FIRST = 5  # tokens of a text, on which it shows most whether BOS is before them
MODELS = 12  # that are tried of a cache, the smallest first


@dataclass(frozen=True)
class OtherSite:
    """Where a dictionary may read and write.

    Args:
        cause: what is wrong with the dictionary if this is where it belongs.
        what: in words.
        site: that is read.
        site_out: that is written.
        settings: of --sae that say so.
    """

    cause: str
    what: str
    site: Site
    site_out: Site
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """The activations of ten texts at a place, and of others for principal components.

    Args:
        x: (token, d_in) that is read.
        y: (token, d_out) that is to be reconstructed.
        first: (token,) bool, whether it is one of the first five of its text.
        others: (token, d_out) of other texts.
        left_out: tokens of the ten that are far larger than all others.
    """

    x: Tensor
    y: Tensor
    first: Tensor
    others: Tensor
    left_out: int

    @cached_property
    def leading(self) -> dict[int, Components]:
        """Components that were found already, by how many."""
        return {}

    def components(self, count: int) -> Components:
        """Return the leading principal components of the other texts."""
        if count not in self.leading:
            self.leading[count] = components(self.others, count)
        return self.leading[count]


def declared(model: LanguageModel, info: DictionaryInfo) -> OtherSite:
    """Return where the dictionary says that it belongs.

    Args:
        model: whose sites they are.
        info: of the dictionary, with the hooks that it declares.

    Raises:
        SiteError: the model has no such place.
    """
    return OtherSite("", "as declared", *sites_of(info, model))


def others(model: LanguageModel, info: DictionaryInfo) -> Iterator[OtherSite]:
    """Give all other places that the dictionary may have been trained on.

    Args:
        model: whose sites they are.
        info: of the dictionary, with the hooks that it declares.
    """
    taken: set[str] = set()
    with suppress(SiteError):
        here = declared(model, info)
        taken.add(here.site.tensor)
    for place in (*_layers(model, info), *_processed(model, info), *_beside(model, info)):
        if place.site.tensor not in taken:
            taken.add(place.site.tensor)
            yield place


def _layers(model: LanguageModel, info: DictionaryInfo) -> Iterator[OtherSite]:
    """The same hooks in every other layer."""
    for layer in range(model.layers):
        moved = replace(
            info,
            hook_in=_in_layer(str(info.hook_in), layer, model),
            hook_out=_in_layer(str(info.hook_out or info.hook_in), layer, model),
        )
        yield from _placed("wrong layer", f"at {moved.hook_in}", model, moved)


def _beside(model: LanguageModel, info: DictionaryInfo) -> Iterator[OtherSite]:
    """Other hooks in its layer, for a dictionary of one site."""
    found = re.fullmatch(r"blocks\.(\d+)\..+", str(info.hook_in))
    if found is None or info.hook_out not in (None, info.hook_in):
        return
    layer = int(found[1])
    _, modules = blocks.find_blocks(model.hf)
    for hook in known_hooks(modules[layer]) if layer < len(modules) else ():
        name = f"blocks.{layer}.{hook}"
        moved = replace(info, hook_in=name, hook_out=name, head=None)
        yield from _placed("wrong site", f"at {name}", model, moved)


def _processed(model: LanguageModel, info: DictionaryInfo) -> Iterator[OtherSite]:
    """The declared site, of a model whose weights were processed otherwise."""
    with suppress(SiteError):
        own = processing.declared(info.trained_on)
        names = [each.name for each in fields(Processing)]
        for name in names:
            other = replace(own, **{name: not getattr(own, name)})
            told = {each: getattr(other, each) for each in names}
            moved = replace(info, trained_on={"model_from_pretrained_kwargs": told})
            settings = {name: str(told[name]).lower()}
            what = f"with {name} {'on' if told[name] else 'off'}"
            yield from _placed("processed weights", what, model, moved, settings)


def _placed(
    cause: str,
    what: str,
    model: LanguageModel,
    info: DictionaryInfo,
    settings: Mapping[str, str] | None = None,
) -> Iterator[OtherSite]:
    if settings is None:
        settings = {"site": str(info.hook_in)}
        if info.hook_out not in (None, info.hook_in):
            settings["site_out"] = str(info.hook_out)
    with suppress(SiteError):
        yield OtherSite(cause, what, *sites_of(info, model), settings)


def _in_layer(hook: str, layer: int, model: LanguageModel) -> str:
    """The hook or module path, of another block."""
    blocks_of = re.escape(blocks.find_blocks(model.hf)[0].rpartition(".")[2])
    return re.sub(rf"(?<![^.])(blocks|{blocks_of})\.\d+", rf"\g<1>.{layer}", hook, count=1)


@torch.no_grad()
def seen(
    model: LanguageModel,
    places: Sequence[OtherSite],
    texts: tuple[Sequence[str], Sequence[str]],
    bos: bool,
    context: int,
    prepare: Callable[[Tensor], Tensor] | None = None,
) -> list[Seen]:
    """Return what stands at each place, by two passes of the model for all of them.

    Args:
        model: of the places.
        places: where to look.
        texts: the ten that are measured on, and others.
        bos: whether texts begin with BOS.
        context: tokens per text at most.
        prepare: what a dictionary that knows the earlier tokens makes of (text, pos, d).

    Raises:
        ModelError: there are no finite activations.
    """
    read, first = _tokens(model, [each.site for each in places], texts[0], bos, context, prepare)
    written, _ = _tokens(model, [each.site_out for each in places], texts[0], bos, context)
    beside, _ = _tokens(model, [each.site_out for each in places], texts[1], bos, context)
    found = []
    for each in places:
        x, y, other = read[each.site], written[each.site_out], beside[each.site_out]
        kept, other_kept = ordinary(y), ordinary(other)
        if not (kept.any() and other_kept.any()):
            raise ModelError(
                f"{model.name} gives no finite activations at {each.site_out.hook_name} in "
                f"{str(model.dtype).removeprefix('torch.')}. Expected numbers: compute in float32."
            )
        found.append(Seen(x[kept], y[kept], first[kept], other[other_kept], int((~kept).sum())))
    return found


def _tokens(
    model: LanguageModel,
    sites: Sequence[Site],
    texts: Sequence[str],
    bos: bool,
    context: int,
    prepare: Callable[[Tensor], Tensor] | None = None,
) -> tuple[dict[Site, Tensor], Tensor]:
    """(token, d) by site, and (token,) whether it is one of the first of its text."""
    parts: dict[Site, list[Tensor]] = {site: [] for site in sites}
    first = []
    for batch in batches(texts, model.tokenizer, context, bos):
        there = model.capture(batch, list(parts))
        valid = batch.valid.to(model.device)
        for site, hidden in there.items():
            parts[site].append((prepare(hidden) if prepare else hidden)[valid].float())
        first.append((valid.cumsum(1) <= FIRST)[valid])
    return {site: torch.cat(each) for site, each in parts.items()}, torch.cat(first)


@dataclass(frozen=True)
class Candidate:
    """A model that an SAE may have been trained on.

    Args:
        cause: `wrong revision` or `wrong model`.
        name: as --sae-model takes it.
        pinned: the same by its commit, which needs no network.
    """

    cause: str
    name: str
    pinned: str


def candidates(name: str, width: int) -> Iterator[Candidate]:
    """Give other revisions of a model, and other models of a width, that the hub's cache has.

    Args:
        name: of the model that is declared.
        width: of its residual stream, which the others must have too.
    """
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    own = hub.parse(name)
    try:
        cache = scan_cache_dir(constants.HF_HUB_CACHE)
    except CacheNotFound:
        return
    found = [
        (repo.repo_id != own.repo, each.size_on_disk, repo.repo_id, each)
        for repo in cache.repos
        if repo.repo_type == "model"
        for each in repo.revisions
        if _width(each.snapshot_path) == width
        and (repo.repo_id != own.repo or (own.revision or "main") not in each.refs)
        and own != (repo.repo_id, each.commit_hash)
    ]
    for other, _, repo_id, each in sorted(found, key=lambda item: item[:3])[:MODELS]:
        ref = min(each.refs, default=each.commit_hash)
        cause = "wrong model" if other else "wrong revision"
        yield Candidate(cause, f"{repo_id}@{ref}", f"{repo_id}@{each.commit_hash}")


def _width(snapshot: Path) -> int | None:
    try:
        config = json.loads((snapshot / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    config = config.get("text_config", config)
    return next(
        (config[key] for key in ("hidden_size", "n_embd", "d_model") if key in config), None
    )
