"""torch.save files: tensors and plain values, and nothing that would have to be run."""

from __future__ import annotations

import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sae.dictionaries.containers import zips
from pytest_sae.dictionaries.layouts import pickle_refused
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from torch import Tensor

_MOST_PICKLE = 2**20  # the structure alone: names and shapes, some hundred bytes a tensor
_MOST_VALUES = 10_000
_MOST_LEVELS = 16
_RATIO = 1.05  # torch.save does not compress
# What torch.save writes for dictionaries of tensors. torch's own list of what is harmless is
# longer, and has callables that allocate whatever they are asked for.
_STORAGES = (
    "Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool",
)  # fmt: skip
_DTYPES = (
    "float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool",
)  # fmt: skip
_CALLABLES = frozenset(
    {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        "torch Size",
        "torch device",
        *(f"torch {kind}Storage" for kind in _STORAGES),
        *(f"torch {dtype}" for dtype in _DTYPES),
    }
)
# What torch.save writes for newer types, float8 among them; the second allocates whatever it is
# asked for.
_NEWER = frozenset({"torch._utils _rebuild_tensor_v3", "torch.storage UntypedStorage"})
_PLAIN = (str, int, float, bool, type(None))


def read_torch(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Return the tensors of a torch.save file by dotted name, and its plain values likewise.

    Raises:
        DictionaryError: a file of before torch 1.6 (a bare pickle, whose size nobody can tell
            without opening it), a damaged one, or one that needs more than tensors, texts and
            numbers.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise DictionaryError(pickle_refused(path) if _is_pickle(path) else _damaged(path, ""))
        _check(path)
        return _flat(_load(path), path)
    except zips.DAMAGE as error:
        raise DictionaryError(_damaged(path, str(error))) from error


def _check(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        pickles = [
            each for each in zips.entries(archive, path, _RATIO) if each.filename.endswith(".pkl")
        ]
        if len(pickles) != 1 or pickles[0].file_size > _MOST_PICKLE:
            sizes = ", ".join(f"{each.filename[:80]} {each.file_size:,}" for each in pickles)
            raise ValueError(f"one data.pkl of at most {_MOST_PICKLE:,} bytes is due, not {sizes}")
        pickled = archive.read(pickles[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        named = set(_called(pickled))
    if named - _CALLABLES:
        raise DictionaryError(_more_than_tensors(path, sorted(named - _CALLABLES)))


def _called(pickled: bytes) -> Iterator[str]:
    """The names that a pickle would look up; it is read, not opened."""
    for code, argument, _ in pickletools.genops(pickled):
        if code.name == "GLOBAL":
            yield str(argument)
        elif code.name in ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"):
            yield f"({code.name})"
        elif code.name.startswith("EXT"):
            yield f"extension {argument}"


def _load(path: Path) -> object:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value: object = torch.load(path, map_location="cpu", weights_only=True)
        except (
            pickle.UnpicklingError,
            AssertionError,
            AttributeError,
            TypeError,
            LookupError,
        ) as error:
            raise ValueError(str(error)[:300]) from error
    return value


def _flat(value: object, path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Tensors by dotted name; plain values nested as they were."""
    import torch

    if isinstance(value, torch.Tensor):
        value = {"tensor": value}
    if not isinstance(value, Mapping):
        raise DictionaryError(
            f"{path} holds a {type(value).__name__}. Expected a dictionary of tensors by name, "
            "such as state_dict() returns: save that."
        )
    tensors: dict[str, Tensor] = {}
    plain: dict[str, object] = {}
    budget = _Budget()
    for name, each in value.items():
        _sort_in(str(name), each, tensors, plain, budget)
    for name, tensor in tensors.items():
        _check_tensor(name, tensor)
    return tensors, plain


class _Budget:
    """Counts values, because a pickle can hold one list a billion times by reference."""

    def __init__(self) -> None:
        self.left = _MOST_VALUES

    def spend(self, level: int) -> None:
        self.left -= 1
        if self.left < 0 or level > _MOST_LEVELS:
            raise ValueError(
                f"it holds more than {_MOST_VALUES:,} values or {_MOST_LEVELS} levels of them"
            )


def _sort_in(
    name: str,
    value: object,
    tensors: dict[str, Tensor],
    plain: dict[str, object],
    budget: _Budget,
    level: int = 0,
) -> None:
    import torch

    budget.spend(level)
    key = name.rpartition(".")[2] if level else name
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach()
    elif isinstance(value, Mapping):
        inner: dict[str, object] = {}
        for each, child in value.items():
            _sort_in(f"{name}.{each}", child, tensors, inner, budget, level + 1)
        if inner:
            plain[key] = inner
    elif isinstance(value, (list, tuple)):
        if any(isinstance(child, torch.Tensor) for child in value):
            for index, child in enumerate(value):
                _sort_in(f"{name}.{index}", child, tensors, plain, budget, level + 1)
        else:
            plain[key] = _plain(value, budget, level)
    else:
        plain[key] = _plain(value, budget, level)


def _plain(value: object, budget: _Budget, level: int) -> object:
    budget.spend(level)
    if isinstance(value, (list, tuple)):
        return [_plain(child, budget, level + 1) for child in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(child, budget, level + 1) for key, child in value.items()}
    return value if type(value) in _PLAIN else str(value)  # torch.float32, torch.device


def _check_tensor(name: str, tensor: Tensor) -> None:
    """Refuse tensors that are no plain arrays, or views of more than their storage holds."""
    import torch

    strided = tensor.layout is torch.strided and not tensor.is_quantized
    if not strided or tensor.device.type != "cpu":
        raise ValueError(f"{name[:80]!r} is a {tensor.layout} tensor on {tensor.device}")
    held = tensor.untyped_storage().nbytes()
    if tensor.numel() * tensor.element_size() > held:
        raise ValueError(f"{name[:80]!r} has the shape {tuple(tensor.shape)} of {held:,} bytes")


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) == b"\x80"


def _damaged(path: Path, why: str) -> str:
    said = f" ({why[:300]})" if why else ""
    return (
        f"{path} is no readable torch.save file{said}. It is truncated or of another format "
        f"({path.stat().st_size:,} bytes): copy it, or save its state_dict() again."
    )


def _more_than_tensors(path: Path, names: list[str]) -> str:
    types = [name for name in names if name not in _NEWER]
    if len(types) < len(names) and all(name.startswith("torch float8_") for name in types):
        return (
            f"{path} has tensors of {', '.join(types) or 'a new type'}, which torch.save writes "
            "in a way that is not opened here. Expected them as safetensors, which are read: "
            "safetensors.torch.save_file(torch.load(...), 'sae.safetensors')."
        )
    listed = ", ".join(name.replace(" ", ".")[:80] for name in names[:4])
    return (
        f"{path} is a pickle that needs {listed} to be run when it is opened: it was not opened. "
        "Expected tensors, texts and numbers alone: where you trust it, load it with the library "
        "that wrote it, and save {name: tensor} by safetensors.torch.save_file(model.state_dict(), "
        "'sae.safetensors')."
    )
