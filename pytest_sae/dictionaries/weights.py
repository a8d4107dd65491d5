"""Reading configuration and weights of untrusted files, and naming them by their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pytest_sae.dictionaries.layouts import pickle_refused
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from typing_extensions import Buffer

_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def read_json(path: Path) -> dict[str, object]:
    """Return the object that a configuration file holds.

    Raises:
        DictionaryError: unreadable, no JSON, or JSON that is no object.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DictionaryError(
            f"{path} is no JSON ({error}). Expected the configuration that the SAE was saved "
            "with: save it again."
        ) from error
    if not isinstance(value, dict):
        raise DictionaryError(
            f"{path} holds a JSON {type(value).__name__}. Expected an object with d_in, d_sae "
            "and architecture: save the SAE again."
        )
    return value


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, on the CPU and in the type that they have there.

    Raises:
        DictionaryError: a pickle (which is never opened), or a file that is damaged.
    """
    from safetensors import SafetensorError, safe_open

    _refuse_pickle(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys())}
    except (SafetensorError, OSError, ValueError) as error:
        raise DictionaryError(
            f"{path} is no readable safetensors file ({error}). It is truncated or of another "
            f"format ({path.stat().st_size:,} bytes): copy or save it again."
        ) from error


def fingerprint(tensors: Mapping[str, Tensor], config: Mapping[str, object]) -> str:
    """Return the sha256 (hex) of tensors and configuration, wherever they are stored.

    Args:
        tensors: by name; name, type, shape and bytes count.
        config: plain builtins that change the result, and nothing else.
    """
    digest = hashlib.sha256(json.dumps(dict(config), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def computing_dtype(tensors: Mapping[str, Tensor], wanted: torch.dtype | None) -> torch.dtype:
    """Return the type to encode in: the wanted one, else the file's, but float32 at least."""
    import torch

    if wanted is not None:
        return wanted
    widest = torch.float32
    for tensor in tensors.values():
        widest = torch.promote_types(widest, tensor.dtype)
    return widest


def _bytes(tensor: Tensor) -> Buffer:
    import torch

    # A view: torch has no bfloat16 in numpy, and copying gigabytes to hash them is slow.
    return cast("Buffer", tensor.reshape(-1).view(torch.uint8).numpy())


def _refuse_pickle(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(_PICKLE_STARTS):
        raise DictionaryError(pickle_refused(path))
