"""A second device on a machine without one: what would move, and what a GPU would refuse.

    with FakeDevice() as device:
        ...  # anything, with tensors put on `GPU`
    device.moved        # bytes by direction and by the function of the package that moved them
    device.refused      # what raises on a GPU: an array of a tensor there, an operation on both

`cpu:0` and `cpu` are the same place to torch, and two devices to whoever compares them. Here what
is on the first one is marked, results of marked tensors are marked, and a tensor goes from one to
the other by a copy that is counted. The arithmetic is the CPU's, so that values stay what they are.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

import pytest_sae

GPU = torch.device("cpu:0")
_HOST = torch.device("cpu")
_PACKAGE = Path(pytest_sae.__file__).parent
_MARK = "on_fake_device"

_DEVICE = torch.Tensor.device.__get__  # type: ignore[attr-defined]
_SET_DATA = torch.Tensor.data.__set__  # type: ignore[attr-defined]
_MAKE = (torch.tensor, torch.as_tensor)
_COPY = (torch.Tensor.copy_, torch.Tensor.__setitem__)
_INDEXING = (torch.Tensor.__getitem__, torch.Tensor.index_put)
_TO = (torch.Tensor.to, torch.Tensor.cpu)
_ARRAYS = (torch.Tensor.numpy, torch.Tensor.__array__)
_SCALARS = (
    torch.Tensor.item,
    torch.Tensor.tolist,
    torch.Tensor.__float__,
    torch.Tensor.__int__,
    torch.Tensor.__bool__,
    torch.Tensor.__index__,
)


class FakeDevice(TorchFunctionMode):
    """Counts bytes that would cross between the host and `GPU`.

    Args:
        least: bytes below which a transfer is not counted.
    """

    def __init__(self, least: int = 0) -> None:
        super().__init__()
        self.least = least
        self.moved: Counter[tuple[str, str]] = Counter()
        self.largest: Counter[tuple[str, str]] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()

    def clear(self) -> None:
        """Forget what was counted."""
        for each in (self.moved, self.largest, self.refused):
            each.clear()

    def total(self, way: str) -> int:
        """Bytes that were `fetched` from the device, or `sent` to it."""
        return sum(size for (moved, _), size in self.moved.items() if moved == way)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run a function of torch as if marked tensors were elsewhere."""
        kwargs = kwargs or {}
        if func == _DEVICE:
            return GPU if _on(args[0]) else func(*args)
        if func in _TO:
            return self._to(func, args, kwargs)
        given = list(_tensors((args, tuple(kwargs.values()))))
        there = [each for each in given if _on(each)]
        result = func(*args, **kwargs)
        if func == _SET_DATA:
            _mark(args[0], _on(args[1]))
            return result
        if func in _SCALARS or func in _ARRAYS:
            self._read(func, there)
            return result
        self._together(func, args, given, there)
        put = _named(args, kwargs) == GPU
        if put and func in _MAKE and not there:
            self._count("sent", result)
        if there or put:
            for each in _tensors((result,)):
                if put or _on(args[0]) or not any(each is one for one in given):
                    _mark(each, True)
        return result

    def _to(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        before, target = args[0], _HOST if func == torch.Tensor.cpu else _named(args[1:], kwargs)
        result: Tensor = func(*args, **kwargs)
        if len(args) > 1 and isinstance(args[1], Tensor):
            target = GPU if _on(args[1]) else _HOST
        if target is None or (target == GPU) == _on(before):
            _mark(result, _on(before)) if result is not before else None
            return result
        self._count("sent" if target == GPU else "fetched", before)
        apart = result.clone() if result.data_ptr() == before.data_ptr() else result
        _mark(apart, target == GPU)
        return apart

    def _read(self, func: Any, there: list[Tensor]) -> None:
        for each in there:
            if func in _ARRAYS:
                self._refuse(func)
            self._count("fetched", each)

    def _together(
        self, func: Any, args: tuple[Any, ...], given: list[Tensor], there: list[Tensor]
    ) -> None:
        elsewhere = [each for each in given if not _on(each) and each.dim()]
        if not there or not elsewhere:
            return
        if func in _COPY:
            value = args[-1]
            if isinstance(value, Tensor) and _on(value) != _on(args[0]):
                self._count("fetched" if _on(value) else "sent", value)
        elif func in _INDEXING and _on(args[0]):
            for each in elsewhere:
                self._count("sent", each)
            if any(each.is_floating_point() for each in elsewhere):  # no index, but values to put
                self._refuse(func)
        else:
            self._refuse(func)

    def _refuse(self, func: Any) -> None:
        self.refused[func.__name__, _place()] += 1

    def _count(self, way: str, tensor: Tensor) -> None:
        size = tensor.numel() * tensor.element_size()
        if size >= self.least:
            self.moved[way, _place()] += size
            self.largest[way, _place()] = max(size, self.largest[way, _place()])


def _on(tensor: object) -> bool:
    return bool(getattr(tensor, "__dict__", {}).get(_MARK))


def _mark(tensor: Tensor, there: bool) -> None:
    tensor.__dict__[_MARK] = there


def _named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device | None:
    """The device that a call names, None where it names none."""
    for each in (*args, *kwargs.values()):
        if isinstance(each, torch.device):
            return each
        if isinstance(each, str) and each.startswith("cpu"):
            return torch.device(each)
    return None


def _tensors(nested: object) -> Iterator[Tensor]:
    if isinstance(nested, Tensor):
        yield nested
    elif isinstance(nested, tuple | list):
        for each in nested:
            yield from _tensors(each)


def _place() -> str:
    """The function of the package that is running, as `module:function`."""
    frame = sys._getframe(2)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if _PACKAGE in path.parents:
            module = ".".join(path.relative_to(_PACKAGE).with_suffix("").parts)
            return f"{module}:{frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"
