"""Dictionaries on the Hugging Face hub: `hf:owner/repo@revision/path`, pinned to a commit.

The hub is asked once, by the process that resolves `--sae`: it turns the revision into a commit,
downloads the files that make the dictionary, and checks them. What follows, in every worker, is
a local directory.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_sae.dictionaries.hub import cache, errors
from pytest_sae.dictionaries.hub import files as repository_files
from pytest_sae.dictionaries.hub.address import Address
from pytest_sae.dictionaries.hub.cache import HubFile, Listing, problem
from pytest_sae.errors import OptionError

#: What one value of --sae may download; the largest published dictionaries have about 30 GB.
LARGEST = 64 * 2**30


@dataclass(frozen=True)
class Fetched:
    """A dictionary of the hub that lies on this machine.

    Args:
        path: its directory or weights file in the hub's cache.
        commit: the revision, resolved.
        root: the repository's own root there.
    """

    path: Path
    commit: str
    root: Path


def fetch(address: Address, text: str) -> list[Fetched]:
    """Return the dictionaries at an address, downloaded where the hub's cache has them not.

    A path may be a glob. Offline (HF_HUB_OFFLINE=1) the cache is all there is. A hub that cannot
    be reached is an error unless the revision is a commit: what a branch is now is not known.

    Args:
        address: from `parse`.
        text: the value of --sae, for messages.

    Raises:
        OptionError: with what the hub has or said, what was expected, and what to do.
    """
    listing = _listing(address, text)
    places = _places(address, listing, text)
    wanted = {name for place in places for name in repository_files.files(listing.files, place)}
    repo, commit = address.repo, listing.commit
    absent = [name for name in wanted if not cache.path(repo, commit, name)]
    _refuse_size(sum(listing.files[name].size or 0 for name in absent), text)
    for name in sorted(wanted):
        if found := problem(_download(address, commit, name, text), listing.files[name]):
            raise OptionError(f"--sae={text}: {found}")
    root = cache.snapshot(repo, commit)
    return [Fetched(root / place, commit, root) for place in places]


def _listing(address: Address, text: str) -> Listing:
    """What the hub has, or what the cache has where that is as good."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        return _ask(address)
    except Exception as error:  # the hub's own, those of its HTTP client, and the system's
        offline = isinstance(error, OfflineModeIsEnabled)
        cached = cache.listing(address.repo, address.revision)
        if cached and (offline or (address.pinned and errors.unreachable(error))):
            return cached
        known = errors.cached_advice(error, cached.commit) if cached else ""
        why = errors.not_cached(address) if offline else errors.explain(error, address)
        raise OptionError(f"--sae={text}: {why}{known}") from error


def _ask(address: Address) -> Listing:
    from huggingface_hub import HfApi, constants

    info = HfApi().model_info(
        address.repo,
        revision=address.revision,
        files_metadata=True,
        # Such a list may be long, and the client waits for ever unless told otherwise.
        timeout=3.0 * constants.HF_HUB_DOWNLOAD_TIMEOUT,
    )
    files = {each.rfilename: _hub_file(each) for each in info.siblings or ()}
    return Listing(str(info.sha), files)


def _hub_file(sibling: Any) -> HubFile:
    digest = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    return HubFile(sibling.size, digest)


def _places(address: Address, listing: Listing, text: str) -> list[str]:
    places = repository_files.places(listing.files, address.path)
    if len(places) == 1 or (places and repository_files.is_glob(address.path)):
        return places
    where = f"{address.repo}@{address.revision}" + (" in the cache" if listing.cached else "")
    why = repository_files.explain(listing.files, address.path, where)
    advice = errors.partial_advice(address) if listing.cached and not places else ""
    raise OptionError(f"--sae={text}: {why}{advice}")


def _refuse_size(size: int, text: str) -> None:
    """Refuse what is to be downloaded if it is too much, or does not fit."""
    from huggingface_hub import constants

    if size > LARGEST:
        raise OptionError(
            f"--sae={text} has {size / 2**30:.1f} GiB. Expected {LARGEST // 2**30} GiB at most: "
            "name less of it, or download it yourself and pass its directory."
        )
    kept = Path(constants.HF_HUB_CACHE).absolute()
    there = next(each for each in (kept, *kept.parents) if each.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise OptionError(
            f"--sae={text} has {size / 2**30:.1f} GiB, and {kept} has {free / 2**30:.1f} GiB "
            "left. Expected room for it: set HF_HUB_CACHE to a directory that has it."
        )


def _download(address: Address, commit: str, name: str, text: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        # By its name, so that the cache knows it offline; by its commit, if it has moved since.
        for revision in (address.revision, commit):
            hf_hub_download(address.repo, name, revision=revision)
    except Exception as error:  # the hub's own, those of its HTTP client, and the system's
        raise OptionError(f"--sae={text}: {errors.explain(error, address, name)}") from error
    if path := cache.path(address.repo, commit, name):
        return path
    raise OptionError(
        f"--sae={text}: the hub lists commit {commit}, and gives {name} of another. Expected the "
        "same: if HF_ENDPOINT names a mirror, use the hub itself."
    )
