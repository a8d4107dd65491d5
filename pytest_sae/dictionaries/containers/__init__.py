"""Reading the files of a dictionary, of whatever container, as untrusted input."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sae.dictionaries.containers.configuration import read_configuration
from pytest_sae.dictionaries.containers.lfs_pointer import refuse_pointer
from pytest_sae.dictionaries.layouts import INDEX
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["read_beside", "read_configuration", "read_weights"]


def read_beside(path: Path) -> dict[str, object]:
    """Return what a file beside a dictionary says: a JSON object, or the head of a README.

    Raises:
        DictionaryError: no JSON object.
    """
    if path.suffix == ".md":
        from pytest_sae.dictionaries.containers.model_card import read_card

        return read_card(path)
    return read_configuration(path)


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Return the tensors of a weights file, and the plain values that lie among them.

    Floating point of 8 bits becomes float32, which holds every number of it.

    Args:
        path: a .safetensors, .npz, .pt or .pth file, or the index of several .safetensors; its
            name says which.

    Raises:
        DictionaryError: damaged, larger than it says, in need of more than tensors, or a pointer
            of git-lfs; numbers of fewer than 8 bits, which torch packs and cannot unpack.
    """
    tensors, plain = _read(path)
    return {name: _computable(name, tensor, path) for name, tensor in tensors.items()}, plain


def _computable(name: str, tensor: Tensor, path: Path) -> Tensor:
    """Torch stores 8 bits, and computes with 16 or more."""
    if tensor.element_size() > 1 or not tensor.is_floating_point():
        return tensor
    try:
        return tensor.float()
    except RuntimeError as error:
        raise DictionaryError(
            f"{path}: {name} is of type {tensor.dtype}, which torch does not turn into float32. "
            "Expected floating point of 8 bits or more: save the dictionary unquantised."
        ) from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    refuse_pointer(path)
    if path.suffix == ".safetensors":
        from pytest_sae.dictionaries.containers.safetensors_file import read_safetensors

        return read_safetensors(path), {}
    if path.name.endswith(f".safetensors{INDEX}"):
        from pytest_sae.dictionaries.containers.sharded_file import read_sharded

        return read_sharded(path), {}
    if path.suffix == ".npz":
        from pytest_sae.dictionaries.containers.npz_file import read_npz

        return read_npz(path), {}
    if path.suffix in (".pt", ".pth"):
        from pytest_sae.dictionaries.containers.torch_file import read_torch

        return read_torch(path)
    raise DictionaryError(f"{path} cannot be read. Expected .safetensors, .npz, .pt or .pth.")
