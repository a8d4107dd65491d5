"""What to say when the hub does not give what was asked for; no token appears in it."""

from __future__ import annotations

import re

from pytest_sae.dictionaries.hub.address import Address

# A token, and the user and password of a mirror's URL.
_SECRET = re.compile(r"hf_\w{6,}|(?<=://)[^/@\s]+@")


def explain(error: BaseException, address: Address, name: str | None = None) -> str:
    """Return what was found, what was expected, and what to do.

    Args:
        error: anything that huggingface_hub raises.
        address: what was asked for.
        name: the file that was asked for, None for the list of them.
    """
    from huggingface_hub import errors

    repo, revision = address.repo, address.revision
    cause = error.__cause__
    local = isinstance(error, errors.LocalEntryNotFoundError)
    if local and cause is not None:
        return explain(cause, address, name)  # not in the cache either, which goes without saying
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{repo} is gated, and the hub does not let you have its files. Expected an account "
            f"that may: accept its terms at https://huggingface.co/{repo}, and set HF_TOKEN to "
            "one of its tokens (or run hf auth login)."
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"the hub has no model repository {repo}, or it is private. Expected owner/name as on "
            "its page: correct it, or set HF_TOKEN to a token that may read it."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return (
            f"{repo} has no revision {revision!r}. Expected a branch, a tag or a commit of it: "
            f"see https://huggingface.co/{repo}/commits/main."
        )
    if isinstance(error, errors.EntryNotFoundError) and not local:
        return (
            f"{repo} lists {name} at {revision} and does not have it. Expected a complete "
            "repository: tell its owner, or name another revision."
        )
    if isinstance(error, errors.HFValidationError):
        return f"{repo} is no name of a repository ({reason(error)}). Expected owner/name."
    status = _status(error)
    if status is not None:
        return _of_status(status, error)
    if isinstance(error, OSError) and not unreachable(error):
        return (
            f"{name or 'the list of its files'} could not be downloaded ({reason(error)}). "
            "Expected a complete file, and a cache that can be written to: try again."
        )
    return (
        f"the hub cannot be reached, or broke off ({reason(error)}). Expected a connection to "
        "HF_ENDPOINT (https://huggingface.co unless it is set): check it and try again, "
        "what has been downloaded is kept."
    )


def not_cached(address: Address) -> str:
    """Return what to say offline where the cache has nothing of a repository's revision."""
    return (
        f"HF_HUB_OFFLINE is set, and the cache has nothing of {address.repo} at "
        f"{address.revision!r}. Expected it there: unset HF_HUB_OFFLINE for one run, or fetch it "
        f"with hf download {address.repo} --revision {address.revision}"
    )


def partial_advice(address: Address) -> str:
    """Return what to add where the cache has a repository, and not the path."""
    return (
        f" The cache has only what was downloaded once: unset HF_HUB_OFFLINE for one run with "
        f"{address}."
    )


def cached_advice(error: BaseException, commit: str) -> str:
    """Return what to add where the hub cannot be reached and the cache knows the revision.

    Args:
        error: what the hub, or the way there, gave.
        commit: that the cache has.
    """
    if not unreachable(error):
        return ""
    return f" The cache has commit {commit}: name it after @, or set HF_HUB_OFFLINE=1 to use it."


def unreachable(error: BaseException) -> bool:
    """Whether the hub did not answer, or answered that it cannot for now."""
    from huggingface_hub import errors

    status = _status(error)
    if status is not None:
        return status == 429 or status >= 500
    if isinstance(error, errors.LocalEntryNotFoundError):
        return error.__cause__ is None or unreachable(error.__cause__)
    names = {each.__name__ for each in type(error).__mro__}
    # Of httpx, and of requests, which earlier versions of the client used.
    return bool(names & {"TransportError", "ConnectionError", "Timeout", "TimeoutError"})


def reason(error: BaseException) -> str:
    """Return an error's type and first line, without secrets."""
    line = next((each for each in str(error).splitlines() if each.strip()), "")
    return _SECRET.sub("***", f"{type(error).__name__}: {line.strip()[:300]}".rstrip(": "))


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _of_status(status: int, error: BaseException) -> str:
    if status in (401, 403):
        return (
            f"the hub refused with status {status} ({reason(error)}). Expected a token that may "
            "read this repository: set HF_TOKEN to one that is valid, or unset it if none is "
            "needed."
        )
    if status == 429:
        return (
            "the hub has had too many requests from here (status 429). Expected fewer: wait some "
            "minutes, and set HF_TOKEN, which allows more."
        )
    return (
        f"the hub answered with status {status} ({reason(error)}). Expected the repository: try "
        "again later, what has been downloaded is kept."
    )
