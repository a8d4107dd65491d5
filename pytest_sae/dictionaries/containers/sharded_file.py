"""safetensors in several files: the index beside them says which tensor lies where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sae.dictionaries.containers.configuration import read_configuration
from pytest_sae.dictionaries.containers.lfs_pointer import refuse_pointer
from pytest_sae.dictionaries.containers.safetensors_file import read_safetensors
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from torch import Tensor


def read_sharded(index: Path) -> dict[str, Tensor]:
    """Return the tensors of all files that an index names, each of which lies beside it.

    Args:
        index: `NAME.safetensors.index.json`, as transformers and huggingface_hub write it.

    Raises:
        DictionaryError: no such index, a file of it that is missing or damaged, or one that holds
            other tensors than the index says.
    """
    listed = _listed(index)
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(listed.values())):
        path = _beside(index, name)
        refuse_pointer(path)
        own = read_safetensors(path)
        expected = {tensor for tensor, place in listed.items() if place == name}
        if own.keys() != expected:
            raise DictionaryError(
                f"{index} says that {name} holds {_some(expected)}, and it holds "
                f"{_some(own.keys())}. Expected the same: do the files belong together?"
            )
        tensors |= own
    return tensors


def _listed(index: Path) -> dict[str, str]:
    listed = read_configuration(index).get("weight_map")
    if isinstance(listed, dict) and listed and all(map(_is_name, listed.values())):
        return listed
    raise DictionaryError(
        f"{index} has {str(listed)[:120]!r} as weight_map. Expected the name of a .safetensors "
        "file beside it for every tensor: save the dictionary again."
    )


def _is_name(name: object) -> bool:
    """Whether it names a file of the same directory, and leads to no other."""
    text = name if isinstance(name, str) else ""
    return text.endswith(".safetensors") and not {"/", "\\", "\0"} & set(text)


def _beside(index: Path, name: str) -> Path:
    path = index.with_name(name)
    if path.is_file():
        return path
    raise DictionaryError(
        f"{path} is not there, and {index.name} says that weights lie in it. Expected all files "
        "of the index beside it: copy or download the others as well."
    )


def _some(names: object) -> str:
    return ", ".join(sorted(names)[:8]) or "nothing"  # type: ignore[call-overload]
