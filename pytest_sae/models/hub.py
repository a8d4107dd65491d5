"""Models by the names that they have on the hub: `owner/model@revision`, pinned to a commit."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pytest_sae.errors import ModelError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_CONFIG = "config.json"  # what every model has at its root
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


class HubName(NamedTuple):
    """A repository of the hub and what of it.

    Args:
        repo: `owner/model`, or the `model` alone of the oldest ones.
        revision: a branch, tag or commit; None for the main branch.
    """

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


def parse(name: str) -> HubName:
    """Return what a name means: `owner/model@revision`, or TransformerLens' short name.

    Args:
        name: such as `EleutherAI/pythia-70m@step3000`, `gpt2` or `gpt2-small`.
    """
    repo, _, revision = name.partition("@")
    return HubName(repo if "/" in repo else _short_names().get(repo, repo), revision or None)


def pinned(named: HubName) -> HubName:
    """Return the same with its revision resolved to a commit.

    The hub is asked if it can be; without it, what its cache on this machine knows counts.

    Raises:
        ModelError: neither has the model, or that revision of it.
    """
    from huggingface_hub import hf_hub_download

    try:
        path = Path(hf_hub_download(named.repo, _CONFIG, revision=named.revision))
    except Exception as error:  # the hub's own, those of its HTTP client, and the system's
        raise ModelError(explain(error, named)) from error
    commit = path.parent.name  # the client tells it (dry_run) only by asking the hub once more
    if _COMMIT.fullmatch(commit):
        return HubName(named.repo, commit)
    raise ModelError(
        f"{named}: its {_CONFIG} lies in the hub's cache at {path}. Expected it in the directory "
        "of a commit: download the model and pass its path"
    )


def weights_cached(name: str) -> bool:
    """Return whether the hub's cache has weights of a model, all or some of them.

    Args:
        name: as it is parsed.

    Raises:
        ModelError: neither hub nor cache has the model.
    """
    from huggingface_hub import try_to_load_from_cache

    repo, revision = pinned(parse(name))
    found = (try_to_load_from_cache(repo, each, revision=revision) for each in _WEIGHTS)
    return any(isinstance(each, str) for each in found)


def explain(error: BaseException, named: HubName) -> str:
    """Return why the hub does not give a model, and what to do.

    Args:
        error: anything that huggingface_hub raises.
        named: what was asked for.
    """
    from huggingface_hub import errors

    repo, revision = named
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{repo} is gated, and the hub does not let you have it: accept its terms at "
            f"https://huggingface.co/{repo}, and set HF_TOKEN to a token of that account"
        )
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        return (
            f"{repo} is neither a directory here nor a model on the hub, or it is private. "
            "Expected a directory, owner/model or owner/model@revision: correct it, pass "
            "--sae-model, or set HF_TOKEN to a token that may read it"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return (
            f"{repo} has no revision {revision!r}: expected a branch, tag or commit of it after @, "
            f"see https://huggingface.co/{repo}/commits/main"
        )
    local = isinstance(error, errors.LocalEntryNotFoundError)
    if isinstance(error, errors.EntryNotFoundError) and not local:
        return (
            f"{named} on the hub has no {_CONFIG}: expected a model in transformers' format, pass "
            "--sae-model with another name or a directory"
        )
    return unreachable(named)


def unreachable(named: HubName) -> str:
    """Return what to say where neither the cache nor the hub gives a model."""
    return (
        f"{named} is neither a directory here nor whole in the hub's local cache, and the hub "
        f"cannot be reached: fetch it where there is a network ({download_command(named)}), or "
        "pass --sae-model with a directory"
    )


def download_command(named: HubName) -> str:
    """Return the command that puts a model into the hub's cache."""
    revision = f" --revision {named.revision}" if named.revision else ""
    return f"hf download {named.repo}{revision}"


@cache
def _short_names() -> dict[str, str]:
    """TransformerLens' names of models, which SAEs are published with, to those of the hub."""
    from transformer_lens.supported_models import MODEL_ALIASES

    return {short: name for name, each in MODEL_ALIASES.items() for short in each}
